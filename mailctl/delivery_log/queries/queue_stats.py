"""Queue statistics: depth, rates, and the throughput of workers.

Emails that were sent are never scanned: depths are counted over unfinished emails, rates over recent events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, false, func, literal, or_, select, tuple_

from mailctl.delivery_log.due import may_start, starts_later, waiting_since
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row
from mailctl.delivery_log.storage.batches import batches
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.states import SENT_OR_CAPTURED, UNFINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.domain.models import Email

#: The period over which rates are computed.
RATE_WINDOW = timedelta(minutes=5)
#: How many recent events rates are computed over; on a busy log they cover less than `RATE_WINDOW`.
NEWEST_EVENTS = 20_000
#: The shortest period of a rate, in minutes: a single email is not a rate. With so many emails it is shorter,
#: so that a campaign that has just begun is not taken for a slow one.
_MIN_RATE_MINUTES = 0.5
_MANY_EMAILS, _MIN_RATE_MINUTES_OF_MANY = 20, 2 / 60
#: A queue has stalled if nothing has left it for so many seconds, in which so many would have at its rate.
_STALLED_SECONDS, _STALLED_EMAILS = 10, 5
#: The states in which an email has left its queue; a deferred one has not.
_OUTGOING_STATES = (State.SENT, State.CAPTURED, State.UNCONFIRMED, State.FAILED)


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """The unfinished emails of one queue, by the delivery log: its depth, and what is counted beside it."""

    queue: str
    #: Due, and not on the broker.
    pending: int = 0
    #: On the broker.
    queued: int = 0
    sending: int = 0
    #: Not to be sent before a later time.
    scheduled: int = 0
    #: Waiting for the next attempt.
    deferred: int = 0
    #: How many of the deferred ones are in state `pending`: put off without an attempt.
    postponed: int = 0
    held: int = 0
    #: Since when the oldest email has waited, not counting scheduled and held ones; None if none waits.
    waiting_since: datetime | None = None

    @property
    def depth(self) -> int:
        """The number of emails that are due now and not finished."""
        return self.pending + self.queued + self.sending

    @property
    def unfinished(self) -> int:
        """The number of emails that may still be sent, due or not."""
        return self.depth + self.scheduled + self.deferred + self.held

    @property
    def states(self) -> dict[State, int]:
        """The number of emails in each state; states without any are left out."""
        counts = {
            State.PENDING: self.pending + self.scheduled + self.postponed,
            State.QUEUED: self.queued,
            State.SENDING: self.sending,
            State.DEFERRED: self.deferred - self.postponed,
            State.HELD: self.held,
        }
        return {state: count for state, count in counts.items() if count}


@dataclass(frozen=True, kw_only=True)
class QueueRate:
    """How many emails per minute entered a queue, and how many left it for good."""

    incoming: float = 0.0
    outgoing: float = 0.0
    #: For how many seconds none has left it since the last one; 0 if none left it recently.
    idle_seconds: float = 0.0

    @property
    def has_stalled(self) -> bool:
        """Whether so few have left it lately that what left it before says nothing about what will."""
        missing = self.outgoing * self.idle_seconds / 60
        return self.idle_seconds >= _STALLED_SECONDS and missing >= _STALLED_EMAILS


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How many emails a worker has sent or captured."""

    last_minute: int = 0
    last_five_minutes: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The last reply of a mail server to an email."""

    at: datetime
    state: State


class QueueStats(Repository):
    """Computes depths, rates and throughput."""

    def depths(self) -> dict[str, QueueDepth]:
        """Return the depth of each queue, by its name; queues without unfinished emails are left out.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        now = self._clock()
        is_due, is_later = _is_due(now), _is_later(now)
        is_scheduled = and_(is_later, emails.c.reason_code.is_(None))
        is_postponed = and_(is_later, emails.c.reason_code.is_not(None))
        is_deferred = or_(emails.c.state == State.DEFERRED, is_postponed)
        is_waiting = or_(is_due, emails.c.state.in_((State.QUEUED, State.SENDING)), is_deferred)
        query = (
            select(
                emails.c.queue,
                _count(is_due).label("pending"),
                _count(emails.c.state == State.QUEUED).label("queued"),
                _count(emails.c.state == State.SENDING).label("sending"),
                _count(is_scheduled).label("scheduled"),
                _count(is_deferred).label("deferred"),
                _count(is_postponed).label("postponed"),
                _count(emails.c.state == State.HELD).label("held"),
                func.min(waiting_since()).filter(is_waiting).label("waiting_since"),
            )
            .where(emails.c.state.in_(UNFINISHED_STATES))
            .group_by(emails.c.queue)
        )
        with reading(self._engine) as connection:
            return {row.queue: QueueDepth(**row._asdict()) for row in connection.execute(query)}

    def rates(self) -> dict[str, QueueRate]:
        """Return the rates of each queue in the last minutes, by name; idle queues are left out."""
        now = self._clock()
        recent = newest_events(since=now - RATE_WINDOW)
        left = (
            select(emails.c.queue, func.count(), func.min(recent.c.at), func.max(recent.c.at).label("last"))
            .join(recent, recent.c.email_id == emails.c.id)
            .where(recent.c.state.in_(_OUTGOING_STATES))
            .group_by(emails.c.queue)
        )
        came = (
            select(emails.c.queue, func.count(), func.min(emails.c.created_at))
            .where(emails.c.created_at > now - RATE_WINDOW)
            .group_by(emails.c.queue)
        )
        with reading(self._engine) as connection:
            outgoing, idle = {}, {}
            for queue, number, first, last in connection.execute(left):
                outgoing[queue] = per_minute(number, first, now=now)
                idle[queue] = max(0.0, (now - last).total_seconds())
            incoming = {queue: per_minute(*row, now=now) for queue, *row in connection.execute(came)}
        return {
            queue: QueueRate(
                incoming=incoming.get(queue, 0.0),
                outgoing=outgoing.get(queue, 0.0),
                idle_seconds=idle.get(queue, 0.0),
            )
            for queue in incoming.keys() | outgoing.keys()
        }

    def throughput(self) -> dict[str, Throughput]:
        """Return the throughput of each worker, by node name; idle workers are left out."""
        now = self._clock()
        recent = newest_events(since=now - RATE_WINDOW)
        is_last_minute = recent.c.at > now - timedelta(minutes=1)
        query = (
            select(recent.c.worker, _count(is_last_minute), func.count())
            .where(recent.c.state.in_(SENT_OR_CAPTURED), recent.c.worker.is_not(None))
            .group_by(recent.c.worker)
        )
        with reading(self._engine) as connection:
            return {
                worker: Throughput(last_minute=last, last_five_minutes=five)
                for worker, last, five in connection.execute(query)
            }

    def last_answer(self, *, since: datetime) -> Answer | None:
        """Return the last reply of a mail server to an email; None if there was none since a time."""
        is_reply = and_(events.c.state.in_((State.DEFERRED, State.FAILED)), events.c.code.is_not(None))
        newest = select(func.max(events.c.seq)).scalar_subquery()
        query = (
            select(events.c.at, events.c.state)
            .where(events.c.seq > newest - NEWEST_EVENTS, events.c.at > since)
            .where(or_(events.c.state == State.SENT, is_reply), is_state_change())
            .order_by(events.c.seq.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else Answer(at=row.at, state=State(row.state))

    def sending_by_worker(self, workers: Iterable[Worker]) -> dict[str, int]:
        """Return how many emails workers are sending, by node name; idle workers are left out.

        What was claimed before a worker was started is another's of the same name, which has died.
        """
        is_own = [
            and_(emails.c.worker == each.name, emails.c.updated_at >= each.started_at) for each in workers
        ]
        query = (
            select(emails.c.worker, func.count().label("number"))
            .where(emails.c.state == State.SENDING, or_(false(), *is_own))
            .group_by(emails.c.worker)
        )
        with reading(self._engine) as connection:
            return {row.worker: row.number for row in connection.execute(query)}

    def count_ahead_of(self, email: Email) -> int:
        """Return how many emails of the same queue were published, or were due, before a waiting one."""
        now = self._clock()
        in_queue = and_(emails.c.queue == email.queue, emails.c.state.in_((State.QUEUED, State.PENDING)))
        if email.state is State.QUEUED:
            before = and_(emails.c.state == State.QUEUED, emails.c.queued_at < email.queued_at)
        else:
            # Emails that were recorded in one call have the same time.
            recorded = tuple_(emails.c.created_at, emails.c.seq)
            seq = select(emails.c.seq).where(emails.c.id == email.id).scalar_subquery()
            is_before = recorded < tuple_(literal(email.created_at, UtcDateTime), seq)
            before = or_(emails.c.state == State.QUEUED, and_(_is_due(now), is_before))
        with reading(self._engine) as connection:
            return connection.execute(
                select(func.count()).select_from(emails).where(in_queue, before)
            ).scalar_one()

    def next_emails(self, queue: str, *, limit: int) -> list[Email]:
        """Return the next emails of a queue, in order: those on the broker, then those that are due."""
        now = self._clock()
        found: list[Email] = []
        steps = (
            (emails.c.state == State.QUEUED, (emails.c.queued_at, emails.c.seq)),
            (_is_due(now), (emails.c.due_at, emails.c.seq)),
        )
        with reading(self._engine) as connection:
            for where, order in steps:
                query = SELECT_EMAILS.where(emails.c.queue == queue, where).order_by(*order)
                rows: Any = connection.execute(query.limit(limit - len(found)))
                found += [email_from_row(row) for row in rows]
        return found

    def find_known(self, ids: Collection[str]) -> dict[str, Email]:
        """Return the emails that the log has, by id; unknown ids are left out."""
        found = {}
        with reading(self._engine) as connection:
            for some in batches(list(ids)):
                rows: Any = connection.execute(SELECT_EMAILS.where(emails.c.id.in_(some)))
                found.update({row.id: email_from_row(row) for row in rows})
        return found


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether an email is pending, and not scheduled for later."""
    return and_(emails.c.state == State.PENDING, may_start(now))


def _is_later(now: datetime) -> ColumnElement[bool]:
    """Whether an email is in the log, not on the broker, and waits for a later time."""
    return and_(emails.c.state == State.PENDING, starts_later(now))


def _count(where: ColumnElement[bool]) -> Any:
    return func.count().filter(where)


def newest_events(*, since: datetime) -> Any:
    """Return recent events as a subquery; events are numbered in their order."""
    newest = select(func.max(events.c.seq)).scalar_subquery()
    return (
        select(events.c.email_id, events.c.at, events.c.state, events.c.worker)
        .where(events.c.seq > newest - NEWEST_EVENTS, events.c.at > since, is_state_change())
        .subquery()
    )


def per_minute(number: int, first: datetime, *, now: datetime) -> float:
    """Return the rate since the first of the counted emails: a burst is not spread over the whole period."""
    shortest = _MIN_RATE_MINUTES_OF_MANY if number >= _MANY_EMAILS else _MIN_RATE_MINUTES
    return number / max((now - first) / timedelta(minutes=1), shortest)
