"""The time series of the last hour, which a process keeps: each time only what is new is read."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, cast, func, select

from mailctl.delivery_log.queries.latency_histogram import PERCENTILES
from mailctl.delivery_log.queries.stat_models import FAILED_STATES, Latency
from mailctl.delivery_log.queries.statistics import (
    first_event_seq_since,
    interval_number,
    latency_seconds,
)
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.states import FEEDBACK_STATES, FINAL_STATES, SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Engine

    from mailctl.domain.catalog import Kind

#: Final states that are no consequence of feedback: an email that enters one of those had ended before.
_ENDS = FINAL_STATES.difference(FEEDBACK_STATES)
#: Transactions of events that are older than this have ended, so that none of an earlier number is missed.
_SETTLED_AFTER = timedelta(seconds=5)
#: Emails that were recorded longer ago are not counted again: a transaction of a service may take so long.
_RECORDED_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class TimeSeriesPoint:
    """The activity within an interval, whenever the emails were recorded."""

    at: datetime
    recorded: int
    #: How many times an email was sent, was captured, was deferred, and failed or expired.
    sent: int
    captured: int
    deferred: int
    failed: int
    #: How many times an email entered a final state.
    ended: int
    #: Percentiles of the latencies, in seconds, of emails recorded in the interval; None if there are none.
    p50: float | None
    p95: float | None
    p99: float | None


class RecentSeries:
    """Counts what happens, interval by interval, over a window that ends now.

    Args:
        engine: of the delivery log's database, with the current schema.
        window: how far back it goes.
        step: the length of an interval in whole seconds; intervals begin at multiples of it since 1970.
        kinds: the kinds of email by name; from their lifetimes follows when an email was scheduled for.
    """

    def __init__(
        self, engine: Engine, *, window: timedelta, step: timedelta, kinds: Mapping[str, Kind]
    ) -> None:
        self._engine = engine
        self._window = window
        self._length = int(step.total_seconds())
        self._kinds = kinds
        self._forget()

    def _forget(self) -> None:
        self._next_seq = 0
        self._entered: defaultdict[int, Counter[State]] = defaultdict(Counter)
        #: How many emails that were recorded in an interval were sent after so many milliseconds.
        self._latencies: defaultdict[int, Counter[int]] = defaultdict(Counter)
        #: The same of all intervals together, and the percentiles of those that have not changed since.
        self._total: Counter[int] = Counter()
        self._known_percentiles: dict[int, tuple[float, ...] | None] = {}
        self._recorded: dict[int, int] = {}

    def read(self, *, now: datetime) -> tuple[list[TimeSeriesPoint], Latency]:
        """Return what happened in each interval, oldest first, and the latency of all emails in them.

        The first interval counts as a whole. Latencies are exact to the millisecond.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        since = now - self._window
        first, last = (int(moment.timestamp()) // self._length for moment in (since, now))
        with reading(self._engine, is_snapshot=True) as connection:
            entered, latencies = self._read_events(connection, since=since, now=now)
            recorded = self._read_recorded(connection, first=first, now=now)
        self._drop_before(first)
        numbers = range(first, last + 1)
        points = [
            _point(
                number,
                self._length,
                self._entered[number] + entered[number],
                recorded.get(number, 0),
                self._percentiles_of(number, latencies),
            )
            for number in numbers
        ]
        return points, _summarize(self._total, [latencies[number] for number in numbers])

    def _percentiles_of(self, number: int, unsettled: Mapping[int, Counter[int]]) -> tuple[float, ...] | None:
        """Return the percentiles of an interval, which are computed again only if it has changed."""
        if new := unsettled.get(number):
            return _percentiles(self._latencies[number] + new)
        if number not in self._known_percentiles:
            self._known_percentiles[number] = _percentiles(self._latencies[number])
        return self._known_percentiles[number]

    def _read_events(
        self, connection: Connection, *, since: datetime, now: datetime
    ) -> tuple[defaultdict[int, Counter[State]], defaultdict[int, Counter[int]]]:
        """Count the new events that are settled; return the counts of those that are not."""
        newest = connection.execute(select(func.max(events.c.seq))).scalar() or 0
        if newest + 1 < self._next_seq:
            # Another log has taken the place of this one.
            self._forget()
        start = self._next_seq or first_event_seq_since(connection, since)
        settled: Any = select(func.min(events.c.seq)).where(
            events.c.seq >= start, events.c.at >= now - _SETTLED_AFTER
        )
        end = connection.execute(settled).scalar() or newest + 1
        entered: defaultdict[int, Counter[State]] = defaultdict(Counter)
        latencies: defaultdict[int, Counter[int]] = defaultdict(Counter)
        is_settled = (events.c.seq < end).label("is_settled")
        for row in connection.execute(self._count_events(is_settled, start)):
            kept = self._entered if row.is_settled else entered
            kept[row.point][State(row.state)] += row.number
        for row in connection.execute(self._count_latencies(is_settled, start)):
            counts = self._latencies if row.is_settled else latencies
            counts[row.point][row.milliseconds] += row.number
            if row.is_settled:
                self._total[row.milliseconds] += row.number
                self._known_percentiles.pop(row.point, None)
        self._next_seq = end
        return entered, latencies

    def _count_events(self, is_settled: ColumnElement[bool], start: int) -> Any:
        point = interval_number(events.c.at, self._length).label("point")
        return (
            select(is_settled, point, events.c.state, func.count().label("number"))
            .where(events.c.seq >= start, is_state_change())
            .group_by(is_settled, point, events.c.state)
        )

    def _count_latencies(self, is_settled: ColumnElement[bool], start: int) -> Any:
        point = interval_number(emails.c.created_at, self._length).label("point")
        seconds = latency_seconds(self._kinds)
        milliseconds = cast(func.round(seconds * 1000), Integer).label("milliseconds")
        return (
            select(is_settled, point, milliseconds, func.count().label("number"))
            .join_from(events, emails, events.c.email_id == emails.c.id)
            .where(
                events.c.seq >= start,
                events.c.state.in_(sorted(SENT_OR_CAPTURED)),
                is_state_change(),
                emails.c.sent_at.is_not(None),
            )
            .group_by(is_settled, point, milliseconds)
        )

    def _read_recorded(self, connection: Connection, *, first: int, now: datetime) -> dict[int, int]:
        """Return how many emails were recorded in each interval; only those of the last ones are counted."""
        settled = int((now - _RECORDED_AFTER).timestamp()) // self._length
        start = first if not self._recorded else max(first, max(self._recorded) + 1)
        point = interval_number(emails.c.created_at, self._length).label("point")
        query = (
            select(point, func.count())
            .where(emails.c.created_at >= datetime.fromtimestamp(start * self._length, tz=UTC))
            .where(emails.c.created_at < now)
            .group_by(point)
        )
        found = {row[0]: row[1] for row in connection.execute(query)}
        self._recorded |= {number: found.get(number, 0) for number in range(start, settled)}
        return self._recorded | found

    def _drop_before(self, first: int) -> None:
        for number in [number for number in self._latencies if number < first]:
            self._total.subtract(self._latencies[number])
            for milliseconds in self._latencies[number]:
                if not self._total[milliseconds]:
                    del self._total[milliseconds]
        kept: tuple[dict[int, Any], ...]
        kept = (self._entered, self._latencies, self._known_percentiles, self._recorded)
        for counts in kept:
            for number in [number for number in counts if number < first]:
                del counts[number]


def _percentiles(milliseconds: Counter[int]) -> tuple[float, ...] | None:
    """Return the percentiles in seconds; None if there are none."""
    counts, total = sorted(milliseconds.items()), milliseconds.total()
    if not total:
        return None
    ranks, seen = [math.ceil(share * total) for share in PERCENTILES], 0
    found: list[float] = []
    for value, count in counts:
        seen += count
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(value / 1000)
    return tuple(found)


def _summarize(settled: Counter[int], others: list[Counter[int]]) -> Latency:
    total = settled.copy()
    for counts in others:
        total.update(counts)
    found = _percentiles(total)
    if found is None:
        return Latency(count=0)
    p50, p95, p99 = found
    return Latency(count=total.total(), p50=p50, p95=p95, p99=p99, longest=max(total) / 1000)


def _point(
    number: int, length: int, entered: Mapping[State, int], recorded: int, latency: tuple[Any, ...] | None
) -> TimeSeriesPoint:
    p50, p95, p99 = latency or (None, None, None)
    return TimeSeriesPoint(
        at=datetime.fromtimestamp(number * length, tz=UTC),
        recorded=recorded,
        sent=entered.get(State.SENT, 0),
        captured=entered.get(State.CAPTURED, 0),
        deferred=entered.get(State.DEFERRED, 0),
        failed=_sum(entered, FAILED_STATES),
        ended=_sum(entered, _ENDS),
        p50=p50,
        p95=p95,
        p99=p99,
    )


def _sum(entered: Mapping[State, int], states: frozenset[State]) -> int:
    return sum(count for state, count in entered.items() if state in states)
