"""Limits that all workers of a log keep together: each message takes a permit for its rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, or_, select, update

from mailctl.delivery_log.queries.statistics import first_event_seq_since
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.sql_functions import Domain
from mailctl.delivery_log.storage.tables import emails, events, send_limits
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.send_rates import (
    COUNTED_SECONDS,
    LEARNED_FOR,
    PAUSE_SECONDS,
    domain_scope,
    effective_rate,
    fastest_second,
    rate_after_refusal,
    server_scope,
)
from mailctl.domain.states import State
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

#: Seconds over which it is measured what a mail server has accepted.
_MEASURED_SECONDS = 2.0
#: Seconds for which refusals tell nothing new: those messages were on their way already.
_SETTLING = timedelta(seconds=PAUSE_SECONDS)
#: How long the row of a limit is kept after its last message.
_KEPT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class SendLimit:
    """The limits of a mail server for all workers together, learned from its refusals."""

    #: `server NAME` or `domain NAME`.
    scope: str
    #: `10.5 emails a second`, or `3 sessions`.
    allowed: str
    #: What the server said.
    reason: str

    #: Messages a second as the learned rate is now; None for a limit of sessions.
    rate: float | None = None

    def __str__(self) -> str:
        return f"{self.scope} takes {self.allowed}, as far as is known: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Permits that were requested under a limit."""

    #: Messages a second; None if there is no limit.
    per_second: float | None
    #: Seconds until the first permit.
    wait_seconds: float = 0.0
    #: Whether the permits are taken; not if the wait would be too long.
    is_taken: bool = True
    #: When the rate was learned, as `SendLimits.learned_at` returns it; earlier permits are void.
    learned_at: datetime | None = None


class SendLimits(Repository):
    """Gives out permits at the rates that hold, and records what mail servers teach."""

    def reserve(
        self, scope: str, *, configured: float | None, count: int, longest_wait: float
    ) -> Reservation:
        """Take permits for messages, one after the other at the rate of the limit.

        Args:
            scope: the limit.
            configured: its rate by the settings in messages a second; None if it may only have been learned.
            count: how many permits.
            longest_wait: no permits are taken if the first would be later than after so many seconds.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            row = lock_limit(connection, scope, now)
            rate = _rate_of(row, configured=configured, now=now)
            if rate is None:
                return Reservation(per_second=None)
            begin = max(row.reserved_until, now)
            wait = (begin - now).total_seconds()
            found = Reservation(per_second=rate, wait_seconds=wait, learned_at=row.learned_at)
            if wait > longest_wait:
                return replace(found, is_taken=False)
            until = begin + timedelta(seconds=count / rate)
            is_it = send_limits.c.scope == scope
            connection.execute(update(send_limits).where(is_it).values(reserved_until=until))
        return found

    def is_learned(self, scope: str) -> bool:
        """Whether a mail server has taught a rate.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        query = select(send_limits.c.learned).where(
            send_limits.c.scope == scope, send_limits.c.learned_at > self._clock() - LEARNED_FOR
        )
        with reading(self._engine) as connection:
            return connection.execute(query).scalar() is not None

    def learned_at(self, scope: str) -> datetime | None:
        """Return when a rate was last learned from a mail server; None if never.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        query = select(send_limits.c.learned_at).where(send_limits.c.scope == scope)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar()

    def learned_domains(self) -> frozenset[str]:
        """Return the domains, as `domain_scope` names them, for whose recipients a rate was learned.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        query = select(send_limits.c.scope).where(
            send_limits.c.learned_at > self._clock() - LEARNED_FOR,
            send_limits.c.scope.startswith(domain_scope(""), autoescape=True),
        )
        with reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars())

    def learn(
        self,
        scope: str,
        *,
        server: str,
        accepted_ages: Sequence[float],
        reason: str,
        domain: str | None = None,
        is_paced: bool = True,
    ) -> float | None:
        """Lower the rate of a limit after a mail server has refused a message because it came too fast.

        Args:
            scope: the limit.
            server: the name of the server.
            accepted_ages: how many seconds ago it accepted the last messages of this process, ascending.
            reason: what it said.
            domain: counts only what it has accepted for recipients in this domain; None for all.
            is_paced: whether the message had a permit.

        Returns:
            The new rate in messages a second; None if another refusal has just lowered it, or if there is one
            that this message did not keep.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            row = lock_limit(connection, scope, now)
            if row.learned_at is not None and now - row.learned_at < _SETTLING:
                return None
            known = _rate_of(row, configured=None, now=now)
            if known is not None and not is_paced:
                return None
            age = (now - row.learned_at).total_seconds() if row.learned_at is not None else math.inf
            measured = max(_MEASURED_SECONDS, age if age <= COUNTED_SECONDS else 0.0)
            all_ages = _accepted_ages(connection, server, now, seconds=measured, domain=domain)
            since_refusal = ([each for each in ages if each < age] for ages in (accepted_ages, all_ages))
            adjustment = rate_after_refusal(
                known,
                accepted_per_second=max(fastest_second(accepted_ages), fastest_second(all_ages)),
                accepted_since=max(since_refusal, key=len),
                age_seconds=age,
            )
            values = {"learned": adjustment.rate, "learned_at": now, "reason": reason}
            values["reserved_until"] = now + timedelta(seconds=adjustment.pause_seconds)
            connection.execute(update(send_limits).where(send_limits.c.scope == scope).values(**values))
        return adjustment.rate


def read_learned_rate(engine: Engine, *, server: str, domain: str, now: datetime) -> float | None:
    """Return the rate that all workers keep for a mail server and a domain because one was taught.

    Args:
        engine: of the delivery log.
        server: the name of the mail server.
        domain: the domain of the recipient.
        now: the current time, aware.

    Returns:
        Messages a second; None if no mail server has refused messages because they came too fast.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    scopes = (server_scope(server), domain_scope(domain))
    rates = [each.rate for each in read_learned_limits(engine, now=now) if each.scope in scopes]
    return min((rate for rate in rates if rate is not None), default=None)


def read_learned_limits(engine: Engine, *, now: datetime) -> list[SendLimit]:
    """Return what mail servers have taught and what holds still.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    since = now - LEARNED_FOR
    is_known = or_(send_limits.c.learned_at > since, send_limits.c.sessions_at > since)
    query = select(send_limits).where(is_known).order_by(send_limits.c.scope)
    with reading(engine) as connection:
        return [limit for row in connection.execute(query) for limit in _limits_of(row, now=now)]


def lock_limit(connection: Connection, scope: str, now: datetime) -> Any:
    """Return the row of a limit, locked until the transaction ends; a new one if there is none.

    With each new row, those that tell nothing any more are deleted: by `*=RATE` each domain has one.
    """
    query = select(send_limits).where(send_limits.c.scope == scope).with_for_update()
    while True:
        if insert_or_ignore(connection, send_limits, {"scope": scope, "reserved_until": now, "reason": ""}):
            forgotten = select(send_limits.c.scope).where(_is_forgotten(now))
            is_free = send_limits.c.scope.in_(forgotten.with_for_update(skip_locked=True))
            connection.execute(delete(send_limits).where(is_free))
        if row := connection.execute(query).first():  # another process may have just deleted it
            return row


def _is_forgotten(now: datetime) -> ColumnElement[bool]:
    times = (send_limits.c.learned_at, send_limits.c.sessions_at)
    return and_(
        send_limits.c.reserved_until < now - _KEPT,
        *(or_(time.is_(None), time < now - LEARNED_FOR) for time in times),
    )


def _limits_of(row: Any, *, now: datetime) -> Iterator[SendLimit]:
    rate = _rate_of(row, configured=None, now=now)
    if rate is not None:
        allowed = f"{rate:.3g} emails a second"
        yield SendLimit(scope=row.scope, allowed=allowed, reason=row.reason, rate=rate)
    if row.sessions is not None and row.sessions_at > now - LEARNED_FOR:
        sessions = f"{pluralize(row.sessions, 'session')} at a time"
        yield SendLimit(scope=row.scope, allowed=sessions, reason=row.sessions_reason)


def _rate_of(row: Any, *, configured: float | None, now: datetime) -> float | None:
    age = (now - row.learned_at).total_seconds() if row.learned_at is not None else 0.0
    return effective_rate(configured=configured, learned=row.learned, age_seconds=age)


def _accepted_ages(
    connection: Connection, server: str, now: datetime, *, seconds: float, domain: str | None
) -> list[float]:
    """Return how many seconds ago a server accepted the last emails of all workers, ascending."""
    since = now - timedelta(seconds=seconds)
    first = first_event_seq_since(connection, since)
    query = (
        select(events.c.at)
        .join(emails, emails.c.id == events.c.email_id)
        .where(
            events.c.seq >= first,
            events.c.at >= since,
            events.c.state == State.SENT,
            func.coalesce(emails.c.server, DEFAULT_SERVER) == server,
        )
        .order_by(events.c.at.desc())
    )
    if domain is not None:
        query = query.where(func.lower(Domain(emails.c.to_address)) == domain)
    return [(now - at).total_seconds() for at in connection.execute(query).scalars()]
