"""Calls with a deadline."""

from __future__ import annotations

import threading

import pytest

from mailctl.deadlines import call_with_deadline
from mailctl.errors import ServiceUnavailable


def test_a_late_answer_is_not_waited_for() -> None:
    """Some drivers wait for longer than any of their options says."""
    is_over = threading.Event()
    with pytest.raises(ServiceUnavailable, match=r"The log did not answer within 0\.05 s\."):
        call_with_deadline(is_over.wait, service="The log", seconds=0.05)
    is_over.set()


def test_an_error_of_the_call_is_raised() -> None:
    """Its text says more than ours could."""
    with pytest.raises(ZeroDivisionError):
        call_with_deadline(lambda: 1 // 0, service="The log")
