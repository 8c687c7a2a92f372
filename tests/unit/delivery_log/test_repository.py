"""Every part of the delivery log takes its time from one clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine_clock import clock_of
from tests.emails import NOW

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_the_clock_is_that_of_the_log(engine: Engine) -> None:
    """Its processes compare times, and their own clocks may differ."""
    repository = Repository(engine)
    assert abs(repository._clock() - clock_of(engine)()) < timedelta(minutes=1)
    assert repository._clock().tzinfo is not None


def test_a_given_clock_counts(engine: Engine) -> None:
    """Such as that of a test."""
    assert Repository(engine, clock=lambda: NOW)._clock() == NOW
