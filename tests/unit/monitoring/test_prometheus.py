"""Samples in the Prometheus text format."""

from __future__ import annotations

import math

import pytest

from mailctl.monitoring.prometheus import format_sample


@pytest.mark.parametrize(
    ("value", "written"), [(3.0, "3"), (0.25, "0.25"), (math.nan, "NaN"), (1234567.0, "1234567")]
)
def test_numbers_are_written_short(value: float, written: str) -> None:
    """Without a fraction that they do not have."""
    assert format_sample("mailctl_workers", {}, value) == f"mailctl_workers {written}"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [('a "b"', r"a \"b\""), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("celery", "celery")],
)
def test_labels_are_escaped(name: str, escaped: str) -> None:
    """Other programs choose the names of queues."""
    assert format_sample("depth", {"queue": name, "state": "sent"}, 1) == (
        f'depth{{queue="{escaped}",state="sent"}} 1'
    )


def test_no_control_character_is_in_a_label() -> None:
    """The format cannot escape them."""
    assert "\x1b" not in format_sample("depth", {"queue": "a\x1b[31mb"}, 1)
