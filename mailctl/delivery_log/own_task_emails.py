"""Emails that a task without this log may send: ended by its result, or held if the outcome is unknown.

These are emails of own tasks, and emails whose message carries the whole email. Such a task does not ask the
delivery log before it sends, and a message that is gone from the broker may have been processed. So no relay
publishes such an email again without proof that the broker lost its message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.transitions import change_state, reason_values
from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.own_tasks import OWN_TASK
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.domain.models import Email
    from mailctl.domain.own_tasks import OwnTaskOutcome

_IS_OWN = emails.c.is_own_task.is_(True)
#: Whether a task that does not ask this log may send it.
MAY_BE_SENT_WITHOUT_LOG = or_(_IS_OWN, emails.c.is_in_full.is_(True))
_IS_HELD_AS_UNKNOWN = and_(emails.c.state == State.HELD, emails.c.reason_code == ReasonCode.OWN_TASK_UNKNOWN)


class OwnTaskEmails(Repository):
    """Finds emails of own tasks, and records their outcomes."""

    def published(self, *, limit: int, offset: int = 0, worker_id: str | None = None) -> list[Email]:
        """Return emails of own tasks whose message was published, with unknown outcome, the oldest first.

        Args:
            limit: the maximum number of emails.
            offset: how many of them to skip.
            worker_id: the worker in whose memory the messages are; None for a broker outside the process.
        """
        place = emails.c.queued_in.is_(None) if worker_id is None else emails.c.queued_in == worker_id
        is_published = and_(emails.c.state == State.QUEUED, place, _IS_OWN)
        return self._select(is_published, emails.c.queued_at, limit=limit, offset=offset)

    def published_in_full(self, *, limit: int, offset: int = 0) -> list[Email]:
        """Return other emails whose message was published in full, with unknown outcome, the oldest first.

        Args:
            limit: the maximum number of emails.
            offset: how many of them to skip.
        """
        is_published = and_(emails.c.state == State.QUEUED, emails.c.is_in_full.is_(True), ~_IS_OWN)
        return self._select(is_published, emails.c.queued_at, limit=limit, offset=offset)

    def queues_of_other_workers(self, *, since: datetime) -> frozenset[str]:
        """Return the queues to which emails were published while a worker without this log may have listened.

        Args:
            since: only publications after this time.
        """
        was_heard = and_(events.c.reason_code == ReasonCode.OTHER_WORKER, events.c.at > since)
        of_emails = select(emails.c.queue).join(events, events.c.email_id == emails.c.id)
        with reading(self._engine) as connection:
            return frozenset(connection.execute(of_emails.where(was_heard).distinct()).scalars())

    def held_as_unknown(self, *, since: datetime, limit: int) -> list[Email]:
        """Return emails that were held after a time because their outcome was unknown.

        A result may still come, because a task may take long.
        """
        is_recent = and_(_IS_HELD_AS_UNKNOWN, MAY_BE_SENT_WITHOUT_LOG, emails.c.updated_at > since)
        return self._select(is_recent, emails.c.updated_at, limit=limit)

    def finish(self, email_id: str, outcome: OwnTaskOutcome) -> bool:
        """Record the outcome of an email; return whether this ended the email, or held it.

        The content is deleted only if a mail server has accepted the email, or it was captured. The email of
        an interrupted task is held, because its outcome is unknown.

        Args:
            email_id: the id of an email that was published, or is held because its outcome was unknown.
            outcome: the outcome according to the result of the task.
        """
        if outcome.may_have_been_sent:
            return bool(self.hold_unknown([email_id], why=outcome.reason.text, sender=outcome.reporter))
        now, state, code = self._clock(), outcome.state, outcome.reason.code
        this_email = emails.c.id == email_id
        with writing(self._engine) as connection:
            if not _record_start(connection, this_email, receiver=outcome.reporter, now=now):
                return False
            changed = change_state(
                connection,
                this_email,
                state,
                text=outcome.reason.text,
                values=_values(outcome),
                now=now,
                code=code,
            )
            return bool(changed)

    def hold_unknown(self, ids: Collection[str], *, why: str, sender: str = OWN_TASK) -> int:
        """Hold published emails of which it is unknown whether their task ran; return how many.

        Args:
            ids: the ids of the emails.
            why: why it is unknown, as a clause.
            sender: who may have sent them.
        """
        is_published = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED, MAY_BE_SENT_WITHOUT_LOG)
        with writing(self._engine) as connection:
            return _hold(connection, is_published, why=why, now=self._clock(), sender=sender)

    def expire(self, ids: Collection[str], *, sender: str) -> None:
        """Expire published emails that are too late, although such a task may still send them.

        Args:
            ids: the ids of the emails.
            sender: who may send them.
        """
        is_published = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED, MAY_BE_SENT_WITHOUT_LOG)
        text = f"it expired before it was known to be sent; {sender} may still send it"
        reason, now = Reason(code=ReasonCode.EXPIRED, text=text), self._clock()
        values = reason_values(reason) | {"maybe_sent": True}
        if ids:
            with writing(self._engine) as connection:
                change_state(
                    connection,
                    is_published,
                    State.EXPIRED,
                    text=text,
                    values=values,
                    now=now,
                    code=reason.code,
                )

    def mark_as_own(self, kinds: Collection[str]) -> int:
        """Mark the published emails of some kinds as emails of own tasks; return how many were marked.

        An earlier version of mailctl, or a process with another app, may have published them.
        """
        of_kinds = and_(
            emails.c.state == State.QUEUED, emails.c.kind.in_(kinds), emails.c.is_own_task.is_(False)
        )
        with writing(self._engine) as connection:
            return connection.execute(update(emails).where(of_kinds).values(is_own_task=True)).rowcount

    def _select(
        self, where: ColumnElement[bool], order: ColumnElement[Any], *, limit: int, offset: int = 0
    ) -> list[Email]:
        query: Any = SELECT_EMAILS.where(where).order_by(order, emails.c.seq)
        query = query.limit(limit).offset(offset)
        with reading(self._engine) as connection:
            return [email_from_row(row) for row in connection.execute(query)]


def hold_as_unknown(connection: Connection, where: ColumnElement[bool], *, why: str, now: datetime) -> int:
    """Hold the matching emails of own tasks because their outcome is unknown; return how many.

    Args:
        connection: a transaction that writes.
        where: the condition that the emails match.
        why: why the outcome is unknown, as a clause.
        now: the current time.
    """
    return _hold(connection, and_(where, _IS_OWN), why=why, now=now)


def _hold(
    connection: Connection, where: ColumnElement[bool], *, why: str, now: datetime, sender: str = OWN_TASK
) -> int:
    reason = Reason(
        code=ReasonCode.OWN_TASK_UNKNOWN,
        text=f"it is unknown whether {sender} sent it: {why}; {MAYBE_SENT}",
    )
    values = reason_values(reason) | {
        "maybe_sent": True,
        "queued_in": None,
        "claim": None,
        "lease_until": None,
    }
    return len(
        change_state(
            connection, where, State.HELD, text=reason.text, values=values, now=now, code=reason.code
        )
    )


def _record_start(
    connection: Connection, this_email: ColumnElement[bool], *, receiver: str, now: datetime
) -> bool:
    """Record that the task ran; return False if its email has already ended."""
    can_end = and_(this_email, or_(UNINDEXED_STATE == State.QUEUED, _IS_HELD_AS_UNKNOWN))
    if not connection.execute(select(emails.c.seq).where(can_end)).first():
        return False
    is_held = and_(this_email, UNINDEXED_STATE == State.HELD)
    change_state(
        connection, is_held, State.PENDING, text="its task has reported its outcome", values={}, now=now
    )
    text = f"{receiver} received it"
    values = {"attempts": emails.c.attempts + 1}
    return bool(change_state(connection, this_email, State.SENDING, text=text, values=values, now=now))


def _values(outcome: OwnTaskOutcome) -> dict[str, Any]:
    if outcome.state in SENT_OR_CAPTURED:
        # The time at which somebody asked is not the time at which it was sent.
        return reason_values(None) | {"sent_at": outcome.finished_at, "content": None}
    return reason_values(outcome.reason)
