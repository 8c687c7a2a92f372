"""Reads statistics from the rollup by half hour, and from the emails themselves where it does not count them.

The sum is exact at any time, in one snapshot of the database: what the rollup counts, less what it counted of
emails that have changed since, with those as they are now, and the emails of all other times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from mailctl.delivery_log.queries.latency_histogram import LatencyHistogram
from mailctl.delivery_log.storage.tables import (
    emails,
    rollup_changes,
    rollup_counts,
    rollup_latencies,
    rollup_periods,
)
from mailctl.domain.routing import DEFAULT_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Select, Subquery

    #: Returns the latency of an email in seconds, from the column with the time when it was sent.
    LatencyOf = Callable[[ColumnElement[datetime | None]], ColumnElement[float]]

#: The length of the periods that are rolled up: the points of a series of a day.
PERIOD = timedelta(minutes=30)


def period_start(moment: datetime) -> datetime:
    """Return the beginning of the period that a moment is in."""
    seconds = int(PERIOD.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, tz=UTC)


def server_label() -> ColumnElement[str]:
    """Return the mail server of an email's last attempt; "" if mailctl asked none."""
    has_asked = and_(
        emails.c.worker.is_not(None), emails.c.is_own_task.is_(False), emails.c.captured_file.is_(None)
    )
    return case((has_asked, func.coalesce(emails.c.server, DEFAULT_SERVER)), else_="")


@dataclass(frozen=True, kw_only=True)
class TimeRange:
    """A time from a beginning, inclusive, to an end, exclusive; None means no limit."""

    since: datetime | None
    until: datetime | None

    def contains(self, column: ColumnElement[datetime]) -> ColumnElement[bool]:
        """Return the condition that a time is in the span."""
        return and_(
            column >= self.since if self.since is not None else true(),
            column < self.until if self.until is not None else true(),
        )


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Which parts of a span the rollup counts, and which it does not."""

    rolled_up: tuple[TimeRange, ...]
    others: tuple[TimeRange, ...]

    def is_rolled_up(self, column: ColumnElement[datetime]) -> ColumnElement[bool]:
        """Return the condition that the rollup counts a time."""
        return or_(false(), *(span.contains(column) for span in self.rolled_up))

    def is_other(self, column: ColumnElement[datetime]) -> ColumnElement[bool]:
        """Return the condition that a time is in the span, and that the rollup does not count it."""
        return or_(false(), *(span.contains(column) for span in self.others))


def no_coverage(span: TimeRange) -> Coverage:
    """Return the coverage of a span in which the rollup is not to be used."""
    return Coverage(rolled_up=(), others=(span,))


def read_coverage(connection: Connection, span: TimeRange) -> Coverage:
    """Return which periods of a span are rolled up and have not lost emails since.

    Args:
        connection: in the snapshot in which the emails are counted, too.
        span: what is counted.
    """
    closed = (
        select(rollup_periods.c.starts_at)
        .where(span.contains(rollup_periods.c.starts_at), rollup_periods.c.is_closed.is_(True))
        .order_by(rollup_periods.c.starts_at)
    )
    gone = select(rollup_changes.c.created_at).where(
        span.contains(rollup_changes.c.created_at), rollup_changes.c.is_gone.is_(True)
    )
    lost = {period_start(at) for at in connection.execute(gone).scalars()}
    periods = [
        at
        for at in connection.execute(closed).scalars()
        if at not in lost and (span.until is None or at + PERIOD <= span.until)
    ]
    runs = tuple(_runs(periods))
    return Coverage(rolled_up=runs, others=tuple(_rest(span, runs)))


def _runs(periods: Sequence[datetime]) -> Iterator[TimeRange]:
    """Yield the spans that periods make which follow each other."""
    start: datetime | None = None
    for number, at in enumerate(periods):
        start = start or at
        if number + 1 == len(periods) or periods[number + 1] != at + PERIOD:
            yield TimeRange(since=start, until=at + PERIOD)
            start = None


def _rest(span: TimeRange, runs: Sequence[TimeRange]) -> Iterator[TimeRange]:
    """Yield the parts of a span that are in none of the runs, which are in order."""
    since = span.since
    for run in runs:
        if since is None or since != run.since:
            yield TimeRange(since=since, until=run.since)
        since = run.until
    if not runs or since != span.until:
        yield TimeRange(since=since, until=span.until)


def counted_emails(coverage: Coverage, *, campaign: str | None) -> Subquery:
    """Return groups of emails as rows whose `number` has to be summed, with what they have in common.

    Args:
        coverage: of the span that is counted.
        campaign: only emails of this campaign; None for all.

    Returns:
        The columns at (when they were recorded, or their period begins), kind, state, queue, campaign,
        server and number.
    """
    of_campaign = emails.c.campaign == campaign if campaign is not None else true()
    single = _email_columns(literal(1))
    others = select(*single).where(coverage.is_other(emails.c.created_at), of_campaign)
    if not coverage.rolled_up:
        return others.subquery()
    rolled_up = select(
        rollup_counts.c.starts_at.label("at"),
        rollup_counts.c.kind,
        rollup_counts.c.state,
        rollup_counts.c.queue,
        rollup_counts.c.campaign,
        rollup_counts.c.server,
        cast(rollup_counts.c.count, Integer).label("number"),
    ).where(coverage.is_rolled_up(rollup_counts.c.starts_at))
    if campaign is not None:
        rolled_up = rolled_up.where(rollup_counts.c.campaign == campaign)
    changed = _changed(coverage).where(of_campaign)
    now = changed.with_only_columns(*single)
    before = changed.with_only_columns(
        emails.c.created_at.label("at"),
        emails.c.kind,
        rollup_changes.c.state,
        rollup_changes.c.queue,
        func.coalesce(emails.c.campaign, "").label("campaign"),
        rollup_changes.c.server,
        literal(-1).label("number"),
    ).where(rollup_changes.c.state.is_not(None))
    return union_all(rolled_up, now, before, others).subquery()


def _email_columns(number: ColumnElement[int]) -> tuple[ColumnElement[Any], ...]:
    return (
        emails.c.created_at.label("at"),
        emails.c.kind,
        # Not the columns with their indexes, which SQLite would use although another one finds fewer rows.
        emails.c.state.concat("").label("state"),
        emails.c.queue,
        func.coalesce(emails.c.campaign, "").label("campaign"),
        server_label().label("server"),
        number.label("number"),
    )


def _changed(coverage: Coverage) -> Select[Any]:
    """Return the query for emails that have changed since they were rolled up."""
    return (
        select(rollup_changes.c.seq)
        .join(
            emails,
            and_(emails.c.seq == rollup_changes.c.seq, emails.c.created_at == rollup_changes.c.created_at),
        )
        .where(coverage.is_rolled_up(rollup_changes.c.created_at))
    )


def read_latencies(
    connection: Connection, coverage: Coverage, *, latency_of: LatencyOf, campaign: str | None
) -> LatencyHistogram:
    """Return the latencies of the emails of a span that were sent.

    Args:
        connection: in the snapshot in which the coverage was read.
        coverage: of the span.
        latency_of: returns the latency of an email.
        campaign: only emails of this campaign; None for all.
    """
    found = LatencyHistogram()
    rolled_up = select(
        rollup_latencies.c.bin, func.sum(rollup_latencies.c.count), func.max(rollup_latencies.c.longest)
    ).where(coverage.is_rolled_up(rollup_latencies.c.starts_at))
    if campaign is not None:
        rolled_up = rolled_up.where(rollup_latencies.c.campaign == campaign)
    for number, count, longest in connection.execute(rolled_up.group_by(rollup_latencies.c.bin)):
        found.add_bin(number, int(count), longest=longest)
    of_campaign = emails.c.campaign == campaign if campaign is not None else true()
    others = latency_groups(and_(coverage.is_other(emails.c.created_at), of_campaign), latency_of=latency_of)
    for row in connection.execute(others):
        found.add(row.longest, row.number)
    changed = sent_since(_changed(coverage).where(of_campaign), latency_of=latency_of)
    for row in connection.execute(changed):
        for seconds, count in ((row.seconds_before, -1), (row.seconds_now, 1)):
            if seconds is not None:
                found.add(seconds, count)
    return found


def latency_groups(
    where: ColumnElement[bool], *columns: ColumnElement[Any], latency_of: LatencyOf
) -> Select[Any]:
    """Return a query for the sent emails by latency in milliseconds: `number` and `longest`.

    Args:
        where: which emails.
        columns: the columns that the emails of a group have in common, too.
        latency_of: returns the latency of an email.
    """
    seconds = latency_of(emails.c.sent_at)
    milliseconds = cast(func.floor(seconds * 1000), Integer)
    return (
        select(*columns, func.count().label("number"), func.max(seconds).label("longest"))
        .where(where, emails.c.sent_at.is_not(None))
        .group_by(*columns, milliseconds)
    )


def sent_since(changed: Select[Any], *, latency_of: LatencyOf) -> Select[Any]:
    """Return a query for those of changed emails that were sent since they were rolled up."""
    now, before = emails.c.sent_at, rollup_changes.c.sent_at
    return changed.with_only_columns(
        emails.c.created_at,
        func.coalesce(emails.c.campaign, "").label("campaign"),
        case((before.is_not(None), latency_of(before)), else_=None).label("seconds_before"),
        case((now.is_not(None), latency_of(now)), else_=None).label("seconds_now"),
    ).where(or_(now.is_distinct_from(before)))
