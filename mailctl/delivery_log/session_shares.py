"""How many sessions a mail server allows all workers of a log together, and the share of each process."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.send_limits import lock_limit
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import send_limits, session_holders
from mailctl.delivery_log.transitions import dialect_insert
from mailctl.domain.send_rates import LEARNED_FOR, server_scope
from mailctl.domain.session_shares import (
    Holder,
    SessionLimit,
    are_all_in_use,
    limit_after_refusal,
    limit_after_success,
    may_begin,
    share_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from mailctl.domain.session_shares import SessionDemand

#: After so long without a report, a process has ended, and its sessions with it.
_GONE = timedelta(seconds=10)
#: How long after its last report, which comes every second, a process still counts as using its sessions.
_FRESH = timedelta(seconds=5)


class SessionShares(Repository):
    """The sessions to one mail server.

    Nothing here has to survive a crash, which ends the sessions, too.

    Args:
        engine: of the delivery log's database, with the current schema.
        server: the name of the server.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(self, engine: Engine, server: str, *, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(engine, clock=clock)
        self._scope = server_scope(server)

    def is_limited(self) -> bool:
        """Whether the server has refused a session of any worker.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        query = select(send_limits.c.sessions).where(
            send_limits.c.scope == self._scope, send_limits.c.sessions_at > self._clock() - LEARNED_FOR
        )
        with reading(self._engine) as connection:
            return connection.execute(query).scalar() is not None

    def begin(self, holder: str) -> bool:
        """Return whether a process may open its first session while no limit is known; it is noted then.

        Few do so at a time, so that a mail server that allows few sessions refuses few.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine, durable=False) as connection:
            lock_limit(connection, self._scope, now)
            others = self._others(connection, holder, now)
            if not may_begin([other for other in others if other.granted], now=now):
                return False
            self._store_holder(connection, holder, Holder(opened=0, granted=1, wanted=1, since=now), now=now)
        return True

    def note_begun(self, holder: str) -> None:
        """Note that the mail server has accepted the first session of a process.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        is_it = and_(session_holders.c.scope == self._scope, session_holders.c.holder == holder)
        with writing(self._engine, durable=False) as connection:
            connection.execute(update(session_holders).where(is_it).values(opened=1))

    def has_free(self, holder: str) -> bool:
        """Whether a process without a session may have one: one is free, and nobody has waited for it longer.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = self._clock()
        limit, holders = self._read(since=now - _GONE)
        mine = holders.pop(holder, None)
        if limit is None or mine is None:
            return True  # the next exchange tells
        return share_of(mine, list(holders.values()), total=limit, now=now) > 0

    def are_all_in_use(self) -> bool:
        """Whether processes use all sessions that the server allows; False while no limit is known.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        limit, holders = self._read(since=self._clock() - _FRESH)
        return limit is not None and are_all_in_use(list(holders.values()), total=limit)

    def _read(self, *, since: datetime) -> tuple[int | None, dict[str, Holder]]:
        """Return the learned limit, and the processes that have reported since a time."""
        total = select(send_limits.c.sessions).where(send_limits.c.scope == self._scope)
        is_live = and_(session_holders.c.scope == self._scope, session_holders.c.seen_at >= since)
        with reading(self._engine) as connection:
            limit = connection.execute(total).scalar()
            rows = connection.execute(select(session_holders).where(is_live)).all()
        return limit, {row.holder: _holder(row) for row in rows}

    def note_refusal(self, holder: str, demand: SessionDemand, *, reason: str) -> int:
        """Learn from the refusal of a session; return how many sessions this process may have.

        Args:
            holder: the process.
            demand: its sessions, without the refused one.
            reason: what the server said.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine, durable=False) as connection:
            known = _limit_of(lock_limit(connection, self._scope, now), now)
            others = self._others(connection, holder, now)
            opened = demand.opened + sum(other.opened for other in others)
            limit = limit_after_refusal(known, opened=opened, now=now)
            self._store_limit(connection, limit, reason=reason)
            return self._grant(connection, holder, demand, others, limit=limit, now=now)

    def exchange(self, holder: str, demand: SessionDemand) -> int | None:
        """Report the sessions of a process; return how many it may have, or None for no limit.

        Args:
            holder: the process.
            demand: its sessions.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine, durable=False) as connection:
            known = _limit_of(lock_limit(connection, self._scope, now), now)
            if known is None:
                return None
            others = self._others(connection, holder, now)
            opened = demand.opened + sum(other.opened for other in others)
            limit = limit_after_success(known, opened=opened, now=now)
            share = self._grant(connection, holder, demand, others, limit=limit, now=now)
            is_all_used = share + sum(other.granted for other in others) >= limit.total
            if share and demand.wanted > share and is_all_used and now >= limit.trial_at:
                share, limit = (
                    share + 1,
                    replace(limit, trial_at=now + timedelta(seconds=limit.trial_seconds)),
                )
            if limit != known:
                self._store_limit(connection, limit)
        return share

    def leave(self, holder: str) -> None:
        """Note that a process has no sessions any more.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        is_it = and_(session_holders.c.scope == self._scope, session_holders.c.holder == holder)
        with writing(self._engine, durable=False) as connection:
            connection.execute(delete(session_holders).where(is_it))

    def _others(self, connection: Connection, holder: str, now: datetime) -> list[Holder]:
        """Return the other live processes; delete those that are gone."""
        is_gone = and_(session_holders.c.scope == self._scope, session_holders.c.seen_at < now - _GONE)
        connection.execute(delete(session_holders).where(is_gone))
        query = select(session_holders).where(
            session_holders.c.scope == self._scope, session_holders.c.holder != holder
        )
        return [_holder(row) for row in connection.execute(query)]

    def _grant(
        self,
        connection: Connection,
        holder: str,
        demand: SessionDemand,
        others: list[Holder],
        *,
        limit: SessionLimit,
        now: datetime,
    ) -> int:
        key = {"scope": self._scope, "holder": holder}
        is_it = and_(*(session_holders.c[name] == value for name, value in key.items()))
        row = connection.execute(select(session_holders).where(is_it)).first()
        before = _holder(row) if row else Holder(opened=0, granted=demand.opened, wanted=0, since=now)
        mine = replace(before, **asdict(demand))
        share = share_of(mine, others, total=limit.total, now=now)
        # What is open above the share is closed only when its message is done.
        granted = max(share, demand.opened)
        is_first = bool(granted) is not bool(before.granted) or not before.wanted
        kept = replace(mine, granted=granted, since=now if is_first else mine.since)
        self._store_holder(connection, holder, kept, now=now)
        return share

    def _store_holder(self, connection: Connection, holder: str, values: Holder, *, now: datetime) -> None:
        row = asdict(values) | {"seen_at": now}
        statement = dialect_insert(connection, session_holders).values(
            scope=self._scope, holder=holder, **row
        )
        connection.execute(
            statement.on_conflict_do_update(index_elements=list(session_holders.primary_key), set_=row)
        )

    def _store_limit(self, connection: Connection, limit: SessionLimit, *, reason: str | None = None) -> None:
        values = {
            "sessions": limit.total,
            "sessions_at": limit.learned_at,
            "trial_at": limit.trial_at,
            "trial_seconds": limit.trial_seconds,
        }
        values |= {} if reason is None else {"sessions_reason": reason}
        connection.execute(update(send_limits).where(send_limits.c.scope == self._scope).values(**values))


def _limit_of(row: Any, now: datetime) -> SessionLimit | None:
    if row.sessions is None or row.sessions_at <= now - LEARNED_FOR:
        return None
    return SessionLimit(
        total=row.sessions,
        learned_at=row.sessions_at,
        trial_at=row.trial_at,
        trial_seconds=row.trial_seconds,
    )


def _holder(row: Any) -> Holder:
    return Holder(opened=row.opened, granted=row.granted, wanted=row.wanted, since=row.since)
