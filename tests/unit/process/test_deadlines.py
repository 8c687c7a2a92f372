"""Calls to services end at their deadline."""

from __future__ import annotations

import re
import threading

import pytest

from mailctl.errors import BrokerUnavailable, ServiceUnavailable
from mailctl.process.deadlines import call_with_deadline, timed_call_with_deadline


def test_the_result_is_returned() -> None:
    """With the time that it took, if wanted."""
    assert call_with_deadline(lambda: 7, service="The log") == 7
    answer, took = timed_call_with_deadline(lambda: 7, service="The log")
    assert answer == 7
    assert re.fullmatch(r"\d+\.\d ms", took)


def test_none_is_a_result() -> None:
    """Not a missing one."""
    assert call_with_deadline(lambda: None, service="The log") is None


def test_a_service_that_does_not_answer_is_unavailable() -> None:
    """The error has the class that the caller wants."""
    is_over = threading.Event()
    try:
        with pytest.raises(BrokerUnavailable, match=r"The broker did not answer within 0\.01 s\."):
            call_with_deadline(
                is_over.wait, service="The broker", seconds=0.01, error_class=BrokerUnavailable
            )
    finally:
        is_over.set()


def test_an_exception_of_the_call_is_raised_unchanged() -> None:
    """Its class says what happened."""
    with pytest.raises(ZeroDivisionError):
        call_with_deadline(lambda: 1 // 0, service="The log")
    with pytest.raises(ServiceUnavailable, match="down"):
        call_with_deadline(lambda: _raise(ServiceUnavailable("down")), service="The log")


def _raise(error: Exception) -> None:
    raise error
