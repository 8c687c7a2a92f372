"""Time series: what happened in each interval, and what counts where."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.time_series import TimeSeriesPoint, time_series
from mailctl.domain.models import State
from tests.unit.delivery_log.conftest import LATER, REFUSED, SENT

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.domain.outcomes import Outcome
    from tests.unit.delivery_log.conftest import Log

MINUTE = timedelta(minutes=1)


def series(log: Log, start: datetime) -> list[TimeSeriesPoint]:
    """Return the points of the minutes since a time."""
    return time_series(log.engine, start, log.now + timedelta(seconds=1), MINUTE)


def end(log: Log, state: State, outcome: Outcome, *, after: float) -> None:
    """Record an email, and let a worker end it some seconds later."""
    claim = log.claim(log.queue())
    log.forward(after)
    log.results.finish(claim, state, outcome=outcome)


def test_every_interval_has_a_point(log: Log) -> None:
    """Whether or not something happened in it; intervals begin at whole minutes."""
    start = log.now
    log.add()
    log.forward(125)
    log.add()
    found = series(log, start)
    assert [(point.at - start, point.recorded) for point in found] == [
        (timedelta(0), 1),
        (MINUTE, 0),
        (2 * MINUTE, 1),
    ]


def test_a_change_counts_when_it_happened(log: Log) -> None:
    """And a latency where its email was recorded."""
    start = log.now
    end(log, State.SENT, SENT, after=90)
    first, second = series(log, start)
    assert (first.recorded, first.sent, round(first.p50 or 0, 2)) == (1, 0, 90)
    assert (second.recorded, second.sent, second.ended, second.p50) == (0, 1, 1, None)


def test_each_kind_of_end_has_its_figure(log: Log) -> None:
    """A captured email is not a sent one, and a deferred one has not ended."""
    start = log.now
    end(log, State.SENT, SENT, after=1)
    end(log, State.CAPTURED, SENT, after=2)
    end(log, State.FAILED, REFUSED, after=3)
    log.defer(log.claim(log.queue()), LATER)
    [point] = series(log, start)
    figures = (point.recorded, point.sent, point.captured, point.failed, point.deferred, point.ended)
    assert figures == (4, 1, 1, 1, 1, 3)


def test_percentiles_are_exact(log: Log) -> None:
    """One of the measured latencies each; there is no average."""
    start = log.now
    for number in range(1, 11):
        claim = log.claim(log.queue())
        log.change(claim.id, created_at=start)
        log.results.finish(claim, State.SENT, outcome=SENT)
        log.change(claim.id, sent_at=start + timedelta(seconds=number))
    [point] = series(log, start)
    assert [round(each or 0, 2) for each in (point.p50, point.p95, point.p99)] == [5, 10, 10]
