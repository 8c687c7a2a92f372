"""Time series of what happened in a delivery log, with a point for each interval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl.delivery_log.queries.latency_histogram import PERCENTILES
from mailctl.delivery_log.queries.stat_models import FAILED_STATES
from mailctl.delivery_log.queries.statistics import (
    first_event_seq_since,
    interval_number,
    latency_seconds,
)
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.models import FEEDBACK_STATES, FINAL_STATES, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine

    from mailctl.domain.catalog import Kind

#: Final states that are no consequence of feedback: an email that enters one of those had ended before.
_ENDS = FINAL_STATES.difference(FEEDBACK_STATES)


@dataclass(frozen=True, kw_only=True)
class TimeSeriesPoint:
    """What happened within an interval, whenever the emails were recorded."""

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


def time_series(
    engine: Engine,
    since: datetime,
    until: datetime,
    bucket: timedelta,
    *,
    kinds: Mapping[str, Kind] = BUILT_IN_KINDS,
) -> list[TimeSeriesPoint]:
    """Return what happened in each interval, oldest first, including intervals in which nothing did.

    Args:
        engine: of the delivery log's database, with the current schema.
        bucket: the length of an interval in whole seconds; intervals begin at multiples of it since 1970.
        kinds: the kinds of email by name; from their lifetimes follows when an email was scheduled for.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    length = int(bucket.total_seconds())
    with reading(engine) as connection:
        entered = _count_entered_states(connection, since, until, length)
        recorded = _count_recorded(connection, since, until, length)
        latency = _latency_percentiles(connection, since, until, length, kinds)
    first, last = (int(moment.timestamp()) // length for moment in (since, until))
    return [
        _point(number, length, entered.get(number, {}), recorded.get(number, 0), latency.get(number))
        for number in range(first, last + 1)
    ]


def _point(
    number: int, length: int, entered: dict[State, int], recorded: int, latency: tuple[Any, ...] | None
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


def _sum(entered: dict[State, int], states: frozenset[State]) -> int:
    return sum(count for state, count in entered.items() if state in states)


def _count_entered_states(
    connection: Connection, since: datetime, until: datetime, length: int
) -> dict[int, dict[State, int]]:
    """Return how many times emails entered each state, by the number of the interval."""
    number = interval_number(events.c.at, length).label("number")
    query = (
        select(number, events.c.state, func.count())
        .where(
            events.c.seq >= first_event_seq_since(connection, since), events.c.at < until, is_state_change()
        )
        .group_by(number, events.c.state)
    )
    found: dict[int, dict[State, int]] = {}
    for interval, state, count in connection.execute(query):
        found.setdefault(interval, {})[State(state)] = count
    return found


def _count_recorded(connection: Connection, since: datetime, until: datetime, length: int) -> dict[int, int]:
    number = interval_number(emails.c.created_at, length).label("number")
    query = (
        select(number, func.count())
        .where(emails.c.created_at >= since, emails.c.created_at < until)
        .group_by(number)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _latency_percentiles(
    connection: Connection, since: datetime, until: datetime, length: int, kinds: Mapping[str, Kind]
) -> dict[int, tuple[Any, ...]]:
    """Return the exact percentiles of each interval, by its number."""
    number = interval_number(emails.c.created_at, length).label("number")
    found = (
        select(number, latency_seconds(kinds).label("seconds"))
        .where(emails.c.created_at >= since, emails.c.created_at < until, emails.c.sent_at.is_not(None))
        .subquery()
    )
    ranked = select(
        found.c.number,
        found.c.seconds,
        func.row_number().over(partition_by=found.c.number, order_by=found.c.seconds).label("rank"),
        func.count().over(partition_by=found.c.number).label("count"),
    ).subquery()
    bounds = [
        func.min(ranked.c.seconds).filter(ranked.c.rank >= share * ranked.c.count).label(f"p{share:.2f}")
        for share in PERCENTILES
    ]
    query: Any = select(ranked.c.number, *bounds).group_by(ranked.c.number)
    return {interval: tuple(percentiles) for interval, *percentiles in connection.execute(query)}
