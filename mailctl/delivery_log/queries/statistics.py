"""Statistics over the whole delivery log, computed by the database, from the rollup where it has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Integer, String, case, cast, func, or_, select

from mailctl.delivery_log.queries.latency_histogram import PERCENTILES
from mailctl.delivery_log.queries.rolled_up import (
    PERIOD,
    TimeRange,
    counted_emails,
    no_coverage,
    read_coverage,
    read_latencies,
)
from mailctl.delivery_log.queries.stat_models import (
    FAILED_STATES,
    Activity,
    Dimension,
    Latency,
    StatsGroup,
    StatsPoint,
    Totals,
)
from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.sql_functions import Domain, Epoch, Hour
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.mailbox_providers import OTHER_PROVIDER, PROVIDER_DOMAINS
from mailctl.domain.states import ACCEPTED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection, Engine, Row, Select, Subquery

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email

#: Characters of an error by which emails are grouped that have no reply of a mail server.
_MAX_REASON = 200
#: The dimensions that the rollup has; groups by others are counted email by email.
_ROLLED_UP_DIMENSIONS = frozenset(
    {
        Dimension.KIND,
        Dimension.STATE,
        Dimension.HOUR,
        Dimension.QUEUE,
        Dimension.CAMPAIGN,
        Dimension.SERVER,
    }
)


class Statistics:
    """Counts emails; how long that takes hardly depends on how many there are.

    Periods refer to when emails were recorded: `since` is inclusive, `until` exclusive, None means no limit.

    Args:
        engine: of the delivery log's database, with the current schema.
        kinds: the kinds of email by name; from their lifetimes follows when an email was scheduled for.
        campaign: counts only emails of this campaign in totals, groups, latencies and over time; None counts
            all.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        kinds: Mapping[str, Kind] = BUILT_IN_KINDS,
        campaign: str | None = None,
    ) -> None:
        self._engine = engine
        self._kinds = kinds
        self._campaign = campaign

    def totals(self, since: datetime | None = None, until: datetime | None = None) -> Totals:
        """Return how many emails are in each state.

        Raises:
            LogUnavailable: the delivery log cannot be read; all methods here raise it.
        """
        with reading(self._engine, is_snapshot=True) as connection:
            coverage = read_coverage(connection, TimeRange(since=since, until=until))
            is_all = since is None and until is None and self._campaign is None
            if is_all and not coverage.rolled_up:
                query: Any = select(emails.c.state, func.count()).group_by(emails.c.state)
            else:
                counted = counted_emails(coverage, campaign=self._campaign)
                query = select(counted.c.state, func.sum(counted.c.number)).group_by(counted.c.state)
            counts = {State(state): int(count) for state, count in connection.execute(query)}
        return Totals(states={state: count for state, count in counts.items() if count})

    def grouped_by(
        self,
        dimension: Dimension,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[StatsGroup]:
        """Return emails in groups, the largest first; hours are in their own order.

        Args:
            dimension: what to group by; `error` counts only emails that have one.
            limit: how many groups at most; of hours, the latest.
        """
        if dimension in _ROLLED_UP_DIMENSIONS:
            return self._grouped_by_rolled_up(dimension, since, until, limit)
        name = _group_expression(dimension).label("name")
        count = func.count().label("amount")
        query: Select[Any] = (
            select(name, count, func.sum(func.count()).over().label("all"), *_STATE_COUNTS)
            .where(*self._within(since, until))
            .group_by(name)
            .order_by(count.desc(), name)
            .limit(limit)
        )
        if dimension is Dimension.ERROR:
            query = query.where(emails.c.error.is_not(None))
        with reading(self._engine) as connection:
            return [_group(row) for row in connection.execute(query)]

    def _grouped_by_rolled_up(
        self, dimension: Dimension, since: datetime | None, until: datetime | None, limit: int
    ) -> list[StatsGroup]:
        """Return emails in groups by a dimension that the rollup has; see `grouped_by`."""
        is_hour = dimension is Dimension.HOUR
        with reading(self._engine, is_snapshot=True) as connection:
            coverage = read_coverage(connection, TimeRange(since=since, until=until))
            counted = counted_emails(coverage, campaign=self._campaign)
            name = (Hour(counted.c.at) if is_hour else counted.c[dimension]).label("name")
            amount = func.sum(counted.c.number)
            query: Any = (
                select(
                    name,
                    amount.label("amount"),
                    func.sum(amount).over().label("all"),
                    *(
                        func.coalesce(func.sum(counted.c.number).filter(counted.c.state == state), 0).label(
                            f"in_{state}"
                        )
                        for state in State
                    ),
                )
                .group_by(name)
                .having(amount != 0)
                .order_by(name.desc() if is_hour else amount.desc(), name)
                .limit(limit)
            )
            groups = [_group(row) for row in connection.execute(query)]
        return groups[::-1] if is_hour else groups

    def over_time(self, since: datetime, until: datetime, bucket: timedelta) -> list[StatsPoint]:
        """Return the emails that were recorded in each interval, oldest first, including empty intervals.

        Args:
            bucket: the length of an interval in whole seconds; intervals begin at multiples of it since 1970.
        """
        length, span = int(bucket.total_seconds()), TimeRange(since=since, until=until)
        with reading(self._engine, is_snapshot=True) as connection:
            is_whole = bucket % PERIOD == timedelta(0)
            coverage = read_coverage(connection, span) if is_whole else no_coverage(span)
            counted = counted_emails(coverage, campaign=self._campaign)
            number = interval_number(counted.c.at, length).label("number")
            query = select(
                number,
                func.sum(counted.c.number).label("recorded"),
                _sum_in(counted, ACCEPTED_STATES).label("sent"),
                _sum_in(counted, {State.CAPTURED}).label("captured"),
                _sum_in(counted, FAILED_STATES).label("failed"),
            ).group_by(number)
            found: dict[int, Any] = {row.number: row for row in connection.execute(query)}
        first, last = (int(moment.timestamp()) // length for moment in (since, until))
        return [_point(number, length, found.get(number)) for number in range(first, last + 1)]

    def latency(self, since: datetime | None = None, until: datetime | None = None) -> Latency:
        """Return how long emails took to be accepted by the mail server, or captured.

        Latency is measured from when an email could be sent: when it was recorded, or for when it was
        scheduled. Percentiles are exact: that share of the emails was accepted within that time. Where
        emails are rolled up, they are at most 5 % too long.
        """
        latency_of = partial(latency_seconds, self._kinds)
        with reading(self._engine, is_snapshot=True) as connection:
            coverage = read_coverage(connection, TimeRange(since=since, until=until))
            if coverage.rolled_up:
                found = read_latencies(connection, coverage, latency_of=latency_of, campaign=self._campaign)
                return found.summarize()
            return self._exact_latency(connection, since, until)

    def _exact_latency(
        self, connection: Connection, since: datetime | None, until: datetime | None
    ) -> Latency:
        seconds = latency_seconds(self._kinds).label("seconds")
        latencies = (
            select(seconds).where(emails.c.sent_at.is_not(None), *self._within(since, until)).subquery()
        )
        ranked = select(
            latencies.c.seconds,
            func.row_number().over(order_by=latencies.c.seconds).label("rank"),
            func.count().over().label("count"),
        ).subquery()
        bounds = [
            func.min(ranked.c.seconds).filter(ranked.c.rank >= share * ranked.c.count).label(f"p{share:.2f}")
            for share in PERCENTILES
        ]
        query: Any = select(func.max(ranked.c.rank), *bounds, func.max(ranked.c.seconds))
        count, p50, p95, p99, longest = connection.execute(query).one()
        return Latency(count=count or 0, p50=p50, p95=p95, p99=p99, longest=longest)

    def recent_failures(self, limit: int = 10) -> list[Email]:
        """Return failed emails, those recorded last first."""
        query: Any = SELECT_EMAILS.where(emails.c.state == State.FAILED)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(emails.c.seq.desc()).limit(limit)).all()
        return [email_from_row(row) for row in rows]

    def total_recorded(self) -> int:
        """Return how many emails were ever recorded, including pruned ones."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.max(emails.c.seq))).scalar() or 0

    def activity(self, *, since: datetime, queue: str | None = None) -> Activity:
        """Return what has happened since a time, whenever the emails were recorded.

        Args:
            queue: counts only this queue; None counts all.
        """
        recorded: Any = select(func.count()).select_from(emails).where(emails.c.created_at >= since)
        entered: Any = select(events.c.state, func.count()).where(events.c.at >= since, is_state_change())
        if queue is not None:
            recorded = recorded.where(emails.c.queue == queue)
            entered = entered.where(events.c.email_id == emails.c.id, emails.c.queue == queue)
        with reading(self._engine) as connection:
            first = first_event_seq_since(connection, since)
            rows = connection.execute(entered.where(events.c.seq >= first).group_by(events.c.state)).all()
            count = connection.execute(recorded).scalar_one()
        return Activity(recorded=count, entered={State(state): number for state, number in rows})

    def _within(self, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if since is not None:
            found.append(emails.c.created_at >= since)
        if until is not None:
            found.append(emails.c.created_at < until)
        if self._campaign is not None:
            found.append(emails.c.campaign == self._campaign)
        return found


_STATE_COUNTS = [func.count().filter(emails.c.state == state).label(f"in_{state}") for state in State]


def _group(row: Row[Any]) -> StatsGroup:
    return StatsGroup(name=row.name or "", totals=_totals(row), share=int(row.amount) / int(row.all))


def _totals(row: Row[Any]) -> Totals:
    counts = {state: int(getattr(row, f"in_{state}")) for state in State}
    return Totals(states={state: count for state, count in counts.items() if count})


def _sum_in(counted: Subquery, states: Collection[State]) -> ColumnElement[int]:
    return func.coalesce(func.sum(counted.c.number).filter(counted.c.state.in_(states)), 0)


def interval_number(moment: ColumnElement[Any], length: int) -> ColumnElement[int]:
    """Return the number of the interval, counted from 1970, in which a moment is.

    Args:
        moment: a column of times.
        length: of an interval in seconds.
    """
    # SQLite computes with milliseconds: a time on the border must not be rounded to the interval before.
    return cast(func.floor((Epoch(moment) + 0.0005) / length), Integer)


def _point(number: int, length: int, row: Any) -> StatsPoint:
    at = datetime.fromtimestamp(number * length, tz=UTC)
    if row is None:
        return StatsPoint(at=at, recorded=0, sent=0, captured=0, failed=0)
    counts = {name: int(getattr(row, name)) for name in ("recorded", "sent", "captured", "failed")}
    return StatsPoint(at=at, **counts)


def _group_expression(dimension: Dimension) -> ColumnElement[Any]:
    """Return the error, the domain or the provider."""
    match dimension:
        case Dimension.ERROR:
            reply = func.trim(
                cast(emails.c.smtp_code, String) + " " + func.coalesce(emails.c.smtp_enhanced, "")
            )
            # A bounced email was accepted first, so its SMTP reply is not an error.
            refusal = case((emails.c.smtp_code >= 400, reply))
            return func.coalesce(refusal, func.substr(emails.c.error, 1, _MAX_REASON))
        case Dimension.DOMAIN:
            return func.lower(Domain(emails.c.to_address))
        case _:
            return _provider(func.lower(Domain(emails.c.to_address)))


def _provider(domain: ColumnElement[str]) -> ColumnElement[str]:
    """Return the provider of the mailboxes of a domain."""
    known = [
        (or_(*(_is_domain(domain, pattern) for pattern in patterns)), provider)
        for provider, patterns in PROVIDER_DOMAINS.items()
    ]
    return case(*known, else_=OTHER_PROVIDER)


def _is_domain(domain: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    return domain.like(pattern[:-1] + "%") if pattern.endswith(".*") else domain == pattern


def latency_seconds(
    kinds: Mapping[str, Kind], sent_at: ColumnElement[Any] = emails.c.sent_at
) -> ColumnElement[float]:
    """Return the seconds from when an email could be sent to when it was accepted.

    Args:
        kinds: the kinds of email by name; from their lifetimes follows when an email was scheduled for.
        sent_at: the column with the time when it was accepted.
    """
    # Retries overwrite `not_before`, but an email still expires one lifetime after its scheduled time.
    lifetime = case(
        {kind.name: kind.lifetime.total_seconds() for kind in kinds.values()}, value=emails.c.kind, else_=None
    )
    scheduled = case((emails.c.not_before.is_not(None), Epoch(emails.c.expires_at) - lifetime), else_=None)
    waited = Epoch(sent_at) - Epoch(emails.c.created_at)
    since_schedule = Epoch(sent_at) - func.coalesce(scheduled, Epoch(emails.c.created_at))
    least = case((since_schedule < waited, since_schedule), else_=waited)
    return case((least < 0, 0.0), else_=least)


def first_event_seq_since(connection: Connection, since: datetime) -> int:
    """Return the number of the first event since a time, by bisection: events are numbered in their order."""
    # Two subqueries: SQLite would read the whole index for both aggregates in one query.
    first, final = (select(end(events.c.seq)).scalar_subquery() for end in (func.min, func.max))
    low, last = connection.execute(select(first, final)).one()
    if last is None:
        return 0
    high = last + 1
    while low < high:
        middle = (low + high) // 2
        query = (
            select(events.c.seq, events.c.at).where(events.c.seq >= middle).order_by(events.c.seq).limit(1)
        )
        row = connection.execute(query).one()
        if row.at >= since:
            high = middle
        else:
            low = row.seq + 1
    return int(low)
