"""Rates that all workers of a log keep together: each message takes a place in the row of its limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from mailctl.delivery_log.queries.statistics import first_event_seq_since
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails, events, send_limits
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.domain.models import State
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.send_rates import effective_rate, lowered_rate

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: Seconds over which it is measured what a mail server has accepted.
_MEASURED_SECONDS = 2.0
#: Seconds for which refusals tell nothing new: those messages were on their way already.
_SETTLING = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class SendLimit:
    """A rate that workers keep."""

    #: `server NAME` or `domain NAME`.
    scope: str
    #: Messages a second that a mail server has taught; None if it has not refused any.
    learned: float | None
    #: When it last refused one, and what it said.
    learned_at: datetime | None
    reason: str

    def learned_rate(self, *, now: datetime) -> float | None:
        """Return the learned rate as it is now, in messages a second; None if none was learned."""
        age = (now - self.learned_at).total_seconds() if self.learned_at else 0.0
        return effective_rate(configured=None, learned=self.learned, age_seconds=age)

    def describe(self, *, now: datetime) -> str:
        """Return the learned limit as a sentence."""
        rate = self.learned_rate(now=now)
        return f"{self.scope} takes {rate:.3g} emails a second, as far as is known: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Places in the row of a limit."""

    #: Messages a second; None if there is no limit.
    per_second: float | None
    #: Seconds until the first place.
    wait_seconds: float = 0.0
    #: Whether the places are taken; not if the wait would be too long.
    is_taken: bool = True


class SendLimits(Repository):
    """Gives out places at the rates that hold, and records what mail servers teach."""

    def reserve(
        self, scope: str, *, configured: float | None, count: int, longest_wait: float
    ) -> Reservation:
        """Take places for messages, one after the other at the rate of the limit.

        Args:
            scope: the limit.
            configured: its rate by the settings in messages a second; None if it may only have been learned.
            count: how many places.
            longest_wait: no places are taken if the first would be later than after so many seconds.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            row = _lock(connection, scope, now)
            rate = _rate_of(row, configured=configured, now=now)
            if rate is None:
                return Reservation(per_second=None)
            begin = max(row.reserved_until, now)
            wait = (begin - now).total_seconds()
            if wait > longest_wait:
                return Reservation(per_second=rate, wait_seconds=wait, is_taken=False)
            until = begin + timedelta(seconds=count / rate)
            is_it = send_limits.c.scope == scope
            connection.execute(update(send_limits).where(is_it).values(reserved_until=until))
        return Reservation(per_second=rate, wait_seconds=wait)

    def is_learned(self, scope: str) -> bool:
        """Whether a mail server has taught a rate.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        query = select(send_limits.c.learned).where(send_limits.c.scope == scope)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar() is not None

    def learn(self, scope: str, *, server: str, accepted_per_second: float, reason: str) -> float | None:
        """Lower the rate of a mail server that has refused a message because it came too fast.

        Args:
            scope: the limit.
            server: the name of the server.
            accepted_per_second: what it has accepted of this process in the fastest second before.
            reason: what it said.

        Returns:
            The new rate in messages a second; None if another refusal has just lowered it.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            row = _lock(connection, scope, now)
            if row.learned_at is not None and now - row.learned_at < _SETTLING:
                return None
            accepted = max(accepted_per_second, _accepted_per_second(connection, server, now))
            known = _rate_of(row, configured=None, now=now)
            rate = lowered_rate(known, accepted_per_second=accepted)
            values = {"learned": rate, "learned_at": now, "reason": reason}
            values["reserved_until"] = max(row.reserved_until, now + _SETTLING)
            connection.execute(update(send_limits).where(send_limits.c.scope == scope).values(**values))
        return rate


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
    scopes = (f"server {server}", f"domain {domain}")
    rates = [each.learned_rate(now=now) for each in read_learned_limits(engine) if each.scope in scopes]
    return min((rate for rate in rates if rate is not None), default=None)


def read_learned_limits(engine: Engine) -> list[SendLimit]:
    """Return the limits that mail servers have taught.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = select(send_limits).where(send_limits.c.learned.is_not(None)).order_by(send_limits.c.scope)
    with reading(engine) as connection:
        return [
            SendLimit(scope=row.scope, learned=row.learned, learned_at=row.learned_at, reason=row.reason)
            for row in connection.execute(query)
        ]


def _lock(connection: Connection, scope: str, now: datetime) -> Any:
    insert_or_ignore(connection, send_limits, {"scope": scope, "reserved_until": now, "reason": ""})
    query = select(send_limits).where(send_limits.c.scope == scope).with_for_update()
    return connection.execute(query).one()


def _rate_of(row: Any, *, configured: float | None, now: datetime) -> float | None:
    age = (now - row.learned_at).total_seconds() if row.learned_at is not None else 0.0
    return effective_rate(configured=configured, learned=row.learned, age_seconds=age)


def _accepted_per_second(connection: Connection, server: str, now: datetime) -> float:
    """Return how many emails a second a server has accepted of all workers lately."""
    since = now - timedelta(seconds=_MEASURED_SECONDS)
    first = first_event_seq_since(connection, since)
    query = (
        select(func.count())
        .select_from(events)
        .join(emails, emails.c.id == events.c.email_id)
        .where(
            events.c.seq >= first,
            events.c.at >= since,
            events.c.state == State.SENT,
            func.coalesce(emails.c.server, DEFAULT_SERVER) == server,
        )
    )
    return float(connection.execute(query).scalar_one()) / _MEASURED_SECONDS
