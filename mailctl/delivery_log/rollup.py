"""The rollup: emails counted by half hour, so that statistics over a long span need not read each of them.

Relays keep it up to date, and not whoever records an outcome: that would wait for all others with the same
counter. A period is counted once, more than an hour after its end. A trigger notes each email that changes
later, with what was counted of it, so statistics are exact before its counter is corrected, too.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from mailctl.delivery_log.queries.latency_histogram import bin_of
from mailctl.delivery_log.queries.rolled_up import (
    PERIOD,
    TimeRange,
    latency_groups,
    period_start,
    server_label,
)
from mailctl.delivery_log.queries.statistics import latency_seconds
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import (
    emails,
    log,
    rollup_changes,
    rollup_counts,
    rollup_latencies,
    rollup_periods,
)
from mailctl.delivery_log.transitions import dialect_insert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Row, Table

    from mailctl.domain.catalog import Kind

#: How long after its end a period is rolled up. The triggers on PostgreSQL note changes of emails that are an
#: hour old; the rest is a margin.
CLOSE_AFTER = timedelta(hours=1, minutes=5)
#: Periods and changes in one call at most, and seconds after which no other period is begun.
_MAX_PERIODS = 16
MAX_CHANGES = 1000
_MAX_SECONDS = 0.3
#: Times without emails that are longer than this are left out.
_LONGEST_GAP = timedelta(days=1)
#: What PostgreSQL answers if others do the same, or change what is being counted: lock not available,
#: serialization failure, deadlock.
_CONFLICTS = frozenset({"55P03", "40001", "40P01"})
_NAMES = ("kind", "state", "queue", "campaign", "server")


class Rollup(Repository):
    """Keeps the rollup up to date; any number of processes may do so.

    Args:
        engine: of the delivery log's database, with the current schema.
        kinds: the kinds of email by name; from their lifetimes follows when an email was scheduled for.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self, engine: Engine, *, kinds: Mapping[str, Kind], clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(engine, clock=clock)
        self._latency_of = partial(latency_seconds, kinds)
        self._is_sqlite = engine.dialect.name == "sqlite"

    def advance(self) -> int:
        """Correct what has changed, and roll up the oldest periods that are due, for a fraction of a second.

        On PostgreSQL a period is announced by one call, and rolled up by a later one.

        Returns:
            How many periods were announced or rolled up; 0 if there is nothing left to do.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        self._in_turn(self._correct)
        deadline, done = time.monotonic() + _MAX_SECONDS, 0
        for starts_at, can_close in self._find_due():
            if time.monotonic() > deadline:
                break
            work = self._close if can_close else self._announce
            done += self._in_turn(partial(work, starts_at=starts_at))
        return done

    def _in_turn(self, work: Callable[[Connection], int]) -> int:
        """Return what some work in one snapshot returns; 0 if another process is at it."""
        try:
            # If a crash undoes it, it is done again.
            with writing(self._engine, durable=False) as connection:
                try:
                    self._begin_snapshot(connection)
                    return work(connection)
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) in _CONFLICTS:
                        raise _ConflictError from error
                    raise
        except _ConflictError:
            return 0

    def _begin_snapshot(self, connection: Connection) -> None:
        """Lock out other processes that do the same, before the snapshot is taken."""
        if not self._is_sqlite:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # It excludes only itself. The table is never vacuumed; autovacuum takes such a lock, too.
            connection.exec_driver_sql(f"LOCK TABLE {log.name} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT")

    def _find_due(self) -> list[tuple[datetime, bool]]:
        """Return the first periods that are due, each with whether it can be closed."""
        horizon = self._clock() - CLOSE_AFTER
        known: Any = select(
            rollup_periods.c.starts_at, rollup_periods.c.is_closed, rollup_periods.c.announced_by
        )
        with reading(self._engine) as connection:
            oldest_running = self._oldest_transaction(connection)
            periods = {row.starts_at: row for row in connection.execute(known)}
            closed = {starts_at for starts_at, row in periods.items() if row.is_closed}
            due = list(_find_unclosed(connection, closed, horizon=horizon))
        return [
            (at, self._is_sqlite or (at in periods and periods[at].announced_by < oldest_running))
            for at in due
        ]

    def _oldest_transaction(self, connection: Connection) -> int:
        """Return the number of the oldest transaction that runs on PostgreSQL."""
        if self._is_sqlite:
            return 0
        return int(
            connection.execute(text("SELECT txid_snapshot_xmin(txid_current_snapshot())")).scalar_one()
        )

    def _announce(self, connection: Connection, *, starts_at: datetime) -> int:
        """Record that every transaction that begins from now on finds the emails of a period old."""
        values = {"ends_at": starts_at + PERIOD, "announced_by": func.txid_current(), "is_closed": False}
        announce = dialect_insert(connection, rollup_periods).values(starts_at=starts_at, **values)
        connection.execute(announce.on_conflict_do_nothing())
        return 1

    def _close(self, connection: Connection, *, starts_at: datetime) -> int:
        """Count the emails of a period."""
        period = TimeRange(since=starts_at, until=starts_at + PERIOD)
        connection.execute(delete(rollup_changes).where(period.contains(rollup_changes.c.created_at)))
        self._count_emails(connection, period, starts_at=starts_at)
        self._count_latencies(connection, period, starts_at=starts_at)
        closed = {"ends_at": starts_at + PERIOD, "is_closed": True}
        close = dialect_insert(connection, rollup_periods).values(starts_at=starts_at, **closed)
        connection.execute(close.on_conflict_do_update(index_elements=["starts_at"], set_=closed))
        return 1

    def _count_emails(self, connection: Connection, period: TimeRange, *, starts_at: datetime) -> None:
        """Count the emails of a period by kind, state, queue, campaign and server."""
        names = (
            *(emails.c.kind, emails.c.state, emails.c.queue),
            # Not the names of columns, by which PostgreSQL would group instead.
            func.coalesce(emails.c.campaign, "").label("campaign_name"),
            server_label().label("server_name"),
        )
        counts = (
            select(literal(starts_at, rollup_counts.c.starts_at.type), *names, func.count())
            .where(period.contains(emails.c.created_at))
            .group_by(*names)
        )
        columns = ["starts_at", *_NAMES, "count"]
        connection.execute(rollup_counts.insert().from_select(columns, counts))

    def _count_latencies(self, connection: Connection, period: TimeRange, *, starts_at: datetime) -> None:
        """Count the emails of a period by campaign and range of latencies."""
        campaign = func.coalesce(emails.c.campaign, "").label("campaign_name")
        latencies = latency_groups(
            period.contains(emails.c.created_at), campaign, latency_of=self._latency_of
        )
        self._add_latencies(
            connection,
            (
                (starts_at, row.campaign_name, row.longest, row.number)
                for row in connection.execute(latencies)
            ),
        )

    def _correct(self, connection: Connection) -> int:
        """Correct the counters for the emails that changed first, and forget the changes."""
        rows = connection.execute(self._changes()).all()
        if not rows:
            return 0
        periods = {period_start(row.created_at) for row in rows}
        is_closed = and_(rollup_periods.c.starts_at.in_(periods), rollup_periods.c.is_closed.is_(True))
        closed = set(connection.execute(select(rollup_periods.c.starts_at).where(is_closed)).scalars())
        lost = {period_start(row.created_at) for row in rows if row.is_gone or row.kind is None}
        for starts_at in lost:
            _reopen(connection, starts_at)
        changed = [row for row in rows if period_start(row.created_at) in closed - lost]
        self._add_counts(connection, changed)
        self._add_latencies(connection, _latency_changes(changed))
        connection.execute(delete(rollup_changes).where(rollup_changes.c.seq.in_([row.seq for row in rows])))
        return len(rows)

    def _changes(self) -> Any:
        now, before = emails.c.sent_at, rollup_changes.c.sent_at
        is_email = and_(
            emails.c.seq == rollup_changes.c.seq, emails.c.created_at == rollup_changes.c.created_at
        )
        return (
            select(
                rollup_changes.c.seq,
                rollup_changes.c.created_at,
                rollup_changes.c.is_gone,
                rollup_changes.c.state.label("state_before"),
                rollup_changes.c.queue.label("queue_before"),
                rollup_changes.c.server.label("server_before"),
                *(emails.c.kind, emails.c.state, emails.c.queue, server_label().label("server")),
                func.coalesce(emails.c.campaign, "").label("campaign"),
                case((before.is_not(None), self._latency_of(before)), else_=None).label("seconds_before"),
                case((now.is_not(None), self._latency_of(now)), else_=None).label("seconds_now"),
            )
            .outerjoin(emails, is_email)
            .order_by(rollup_changes.c.seq)
            .limit(MAX_CHANGES)
            .with_for_update(of=rollup_changes, skip_locked=True)
        )

    def _add_counts(self, connection: Connection, changed: Sequence[Row[Any]]) -> None:
        deltas: Counter[tuple[Any, ...]] = Counter()
        for row in changed:
            at = period_start(row.created_at)
            deltas[at, row.kind, row.state, row.queue, row.campaign, row.server] += 1
            if row.state_before is not None:
                before = (row.state_before, row.queue_before, row.campaign, row.server_before)
                deltas[(at, row.kind, *before)] -= 1
        columns = ("starts_at", *_NAMES)
        rows = [
            {**dict(zip(columns, key, strict=True)), "count": delta} for key, delta in deltas.items() if delta
        ]
        _add(connection, rollup_counts, rows)

    def _add_latencies(
        self, connection: Connection, latencies: Iterator[tuple[datetime, str, float, int]]
    ) -> None:
        """Add to the counters of latencies: period, campaign, seconds and number of emails."""
        counts: Counter[tuple[datetime, str, int]] = Counter()
        longest: dict[tuple[datetime, str, int], float] = {}
        for starts_at, campaign, seconds, count in latencies:
            key = (starts_at, campaign, bin_of(seconds))
            counts[key] += count
            longest[key] = max(longest.get(key, 0.0), seconds)
        rows = [
            {"starts_at": at, "campaign": campaign, "bin": number, "count": count, "longest": longest[key]}
            for key, count in counts.items()
            if count
            for at, campaign, number in [key]
        ]
        _add(connection, rollup_latencies, rows)


class _ConflictError(Exception):
    """Another process changes the same rows."""


def _find_unclosed(connection: Connection, closed: set[datetime], *, horizon: datetime) -> Iterator[datetime]:
    """Yield the first periods before a time that are not rolled up, without long times without emails."""
    at, found = _first_period(connection, None), 0
    while at is not None and at + PERIOD <= horizon and found < _MAX_PERIODS:
        if at not in closed:
            following = _first_period(connection, at)
            if following is None or following - at > _LONGEST_GAP:
                at = following
                continue
            yield at
            found += 1
        at += PERIOD


def _first_period(connection: Connection, since: datetime | None) -> datetime | None:
    """Return the period of the first email that was recorded since a time."""
    first = select(func.min(emails.c.created_at))
    created_at = connection.execute(first if since is None else first.where(emails.c.created_at >= since))
    found = created_at.scalar()
    return None if found is None else period_start(found)


def _reopen(connection: Connection, starts_at: datetime) -> None:
    """Forget what was counted of a period that has lost emails; it is counted again later."""
    for table in (rollup_counts, rollup_latencies, rollup_periods):
        connection.execute(delete(table).where(table.c.starts_at == starts_at))
    period = TimeRange(since=starts_at, until=starts_at + PERIOD)
    connection.execute(delete(rollup_changes).where(period.contains(rollup_changes.c.created_at)))


def _latency_changes(changed: Sequence[Row[Any]]) -> Iterator[tuple[datetime, str, float, int]]:
    for row in changed:
        if row.seconds_before != row.seconds_now:
            for seconds, count in ((row.seconds_before, -1), (row.seconds_now, 1)):
                if seconds is not None:
                    yield period_start(row.created_at), row.campaign, seconds, count


def _add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add to the counters of a table, and make those that it does not have."""
    if not rows:
        return
    new = dialect_insert(connection, table)
    values = {"count": table.c.count + new.excluded.count}
    if "longest" in table.c:
        is_longer = new.excluded.longest > table.c.longest
        values["longest"] = case((is_longer, new.excluded.longest), else_=table.c.longest)
    keys = [column.name for column in table.primary_key]
    connection.execute(new.on_conflict_do_update(index_elements=keys, set_=values), list(rows))
