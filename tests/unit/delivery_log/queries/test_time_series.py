"""Time series: what happened in each interval, and what counts where."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete

from mailctl.delivery_log.queries.time_series import RecentSeries, TimeSeriesPoint
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import events
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import LATER, REFUSED, SENT

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.domain.outcomes import Outcome
    from tests.unit.delivery_log.conftest import Log

MINUTE = timedelta(minutes=1)


def series(log: Log, start: datetime) -> list[TimeSeriesPoint]:
    """Return the points of the minutes since a time."""
    return keep_series(log, start).read(now=log.now + timedelta(seconds=1))[0]


def keep_series(log: Log, start: datetime) -> RecentSeries:
    """Return a series that is kept, and goes back as far as a time does now."""
    window = log.now + timedelta(seconds=1) - start
    return RecentSeries(log.engine, window=window, step=MINUTE, kinds=BUILT_IN_KINDS)


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


def test_only_what_is_new_is_read(log: Log) -> None:
    """A series that is kept tells the same as one that reads everything, whenever it is asked."""
    kept = RecentSeries(log.engine, window=10 * MINUTE, step=MINUTE, kinds=BUILT_IN_KINDS)
    for number in range(40):
        claim = log.claim(log.queue())
        log.forward(7)
        if number % 3:
            log.results.finish(claim, State.SENT, outcome=SENT)
        else:
            log.defer(claim, LATER)
        log.forward(31)
        new = RecentSeries(log.engine, window=10 * MINUTE, step=MINUTE, kinds=BUILT_IN_KINDS)
        points, latency = kept.read(now=log.now)
        # A new one counts the first interval only from where the window begins.
        expected, _ = new.read(now=log.now)
        assert points[1:] == expected[1:]
        assert latency.count >= sum(point.p50 is not None for point in points)


def test_a_replaced_log_is_read_anew(log: Log) -> None:
    """Its events have lower numbers."""
    start = log.now
    end(log, State.SENT, SENT, after=1)
    log.forward(20)
    kept = keep_series(log, start)
    assert sum(point.sent for point in kept.read(now=log.now)[0]) == 1
    with writing(log.engine) as connection:
        connection.execute(delete(events).where(events.c.seq > 1))
    assert sum(point.sent for point in kept.read(now=log.now)[0]) == 0


def test_a_series_that_is_kept_says_what_a_new_one_says(log: Log) -> None:
    """Minute after minute, while emails settle and the first ones leave the window."""
    kept = RecentSeries(log.engine, window=3 * MINUTE, step=MINUTE, kinds=BUILT_IN_KINDS)
    for number in range(12):
        after = 1 + number % 3
        for _ in range(2):
            end(log, State.SENT, SENT, after=after)
            log.forward(30 - after)
        new = RecentSeries(log.engine, window=3 * MINUTE, step=MINUTE, kinds=BUILT_IN_KINDS)
        assert kept.read(now=log.now) == new.read(now=log.now)
