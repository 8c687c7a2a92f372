"""A part of a worker is restarted a few times; an unexpected error is described without its text."""

from __future__ import annotations

from mailctl.domain import validation
from mailctl.worker.restarts import MAX_RESTARTS, WINDOW_SECONDS, RestartLimit, describe_failure
from tests.unit.worker.fakes import Clock


def test_three_restarts_are_allowed_in_ten_minutes() -> None:
    """The fourth is allowed when the first is long past."""
    clock = Clock()
    limit = RestartLimit(monotonic=clock)
    assert [limit.take() for _ in range(MAX_RESTARTS + 1)] == [True, True, True, False]
    assert str(limit) == "3 of 3 times in 10 minutes"
    clock.now += WINDOW_SECONDS + 1
    assert limit.take()
    assert str(limit) == "1 of 3 times in 10 minutes"


def test_an_error_is_described_by_its_place() -> None:
    """Its text may quote an email."""
    try:
        validation.validate_email_id("secret\n")
    except Exception as error:
        described = describe_failure(error)
    assert described.startswith("InvalidInput in validation.py:")
    assert "secret" not in described
    assert describe_failure(KeyError("secret")) == "KeyError"
