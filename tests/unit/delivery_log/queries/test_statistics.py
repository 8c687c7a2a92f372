"""Statistics: what is counted where."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics, first_event_seq_since
from mailctl.delivery_log.storage.engine import reading
from mailctl.domain.models import State
from tests.unit.delivery_log.conftest import SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

MINUTE = timedelta(minutes=1)


def send(log: Log, *, seconds: float) -> None:
    """Have an email sent after some seconds."""
    claim = log.claim(log.queue())
    log.forward(seconds)
    log.results.finish(claim, State.SENT, outcome=SENT)


@pytest.mark.parametrize(
    ("dimension", "name"),
    [
        (Dimension.KIND, "welcome"),
        (Dimension.DOMAIN, "example.com"),
        (Dimension.HOUR, "2026-03-01T12:00Z"),
        (Dimension.ERROR, "550 5.1.1"),
    ],
)
def test_emails_are_grouped(log: Log, dimension: Dimension, name: str) -> None:
    """By a reply's codes rather than by its text."""
    log.change(log.add(), error="no zoe here", smtp_code=550, smtp_enhanced="5.1.1")
    [group] = Statistics(log.engine).grouped_by(dimension)
    assert (group.name, group.share, group.totals.recorded) == (name, 1.0, 1)


def test_latency_is_exact(log: Log) -> None:
    """The least time within which that share of the emails was accepted."""
    for seconds in (1, 2, 3, 4):
        send(log, seconds=seconds)
    latency = Statistics(log.engine).latency()
    assert (latency.count, round(latency.p50 or 0, 2), round(latency.longest or 0, 2)) == (4, 2.0, 4.0)


def test_the_first_event_of_a_period_is_found(log: Log) -> None:
    """Whether all are older, or none."""
    for _ in range(5):
        log.add()
        log.forward(60)
    with reading(log.engine) as connection:
        found = [first_event_seq_since(connection, log.now - n * MINUTE) for n in (0, 2, 9)]
    assert found == [6, 4, 1]
