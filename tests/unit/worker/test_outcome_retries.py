"""What records an outcome is repeated until the delivery log takes it, and says little meanwhile."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from mailctl.errors import LogUnavailable
from mailctl.worker import outcome_retries
from mailctl.worker.outcome_retries import repeat_until_recorded

DOWN = LogUnavailable("the delivery log cannot be used.", fix="Start it.")


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module."""
    made: Any = Clock()
    monkeypatch.setattr(outcome_retries, "time", made)
    return made  # type: ignore[no-any-return]


def recorded_after(outage_seconds: int, clock: Clock) -> str:
    """Record something in a log that does not answer at first."""

    def record() -> str:
        if clock.now < 1000 + outage_seconds:
            raise DOWN
        return "recorded"

    return repeat_until_recorded(record, "the outcome of email 7")


@pytest.mark.parametrize(("outage_seconds", "errors"), [(0, 0), (5, 1), (150, 3)])
def test_an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_ends(
    clock: Clock, caplog: pytest.LogCaptureFixture, outage_seconds: int, errors: int
) -> None:
    """Not with each of the tries, one a second."""
    caplog.set_level(logging.INFO, logger="mailctl")
    assert recorded_after(outage_seconds, clock) == "recorded"
    begun = f"cannot record the outcome of email 7 yet; retrying: {DOWN.with_fix}"
    assert [each for each in caplog.messages if each == begun] == [begun] * errors
    ended = [each for each in caplog.messages if each.startswith("recorded the outcome of email 7 after")]
    assert len(ended) == bool(outage_seconds)


def test_values_that_the_log_does_not_take_are_not_repeated() -> None:
    """They would be refused again, and whatever comes after them would wait."""
    error = LogUnavailable("it cannot be used.", fix="")
    error.__cause__ = IntegrityError("INSERT", None, ValueError())

    def record() -> None:
        raise error

    with pytest.raises(LogUnavailable):
        repeat_until_recorded(record, "an outcome")


def test_a_refused_statement_is_repeated_at_once_and_not_taken_for_an_outage(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log answers; a second refusal is reported like any other error."""
    cause: Any = RuntimeError("refused")
    cause.orig = SimpleNamespace(sqlstate="0A000")
    refused = LogUnavailable("cached plan", fix="Try again.")
    refused.__cause__ = cause
    errors = [refused]

    def record() -> str:
        if errors:
            raise errors.pop()
        return "recorded"

    assert repeat_until_recorded(record, "an outcome") == "recorded"
    assert (clock.now, caplog.messages) == (1000.0, [])
    errors += [refused, refused]
    assert repeat_until_recorded(record, "an outcome") == "recorded"
    assert clock.now == 1001.0
