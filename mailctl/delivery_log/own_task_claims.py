"""Emails of own tasks: recorded from the calls of the tasks, and claimed before the tasks run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, update

from mailctl.delivery_log.claim_tokens import new_claim_token
from mailctl.delivery_log.claims import claim_of
from mailctl.delivery_log.due import may_start
from mailctl.delivery_log.new_rows import email_row
from mailctl.delivery_log.own_task_emails import hold_as_unknown
from mailctl.delivery_log.pauses import is_not_paused, return_paused
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import IDENTITY_COLUMNS, identity_from_row
from mailctl.delivery_log.rule_enforcement import is_not_suppressed, suppress_waiting
from mailctl.delivery_log.storage.encryption import reseal
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails
from mailctl.delivery_log.transitions import (
    CLAIM_CLEARED,
    append_events,
    change_state,
    insert_or_ignore,
    reason_values,
)
from mailctl.domain.lease import Lease
from mailctl.domain.mailbox import canonical_mailbox
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine, Row, Select

    from mailctl.domain.models import Claim, Draft
    from mailctl.security.keyring import Keyring

#: How much earlier than its ETA a worker may run a task: the clocks of hosts and Celery's timer differ.
_EARLY = timedelta(seconds=5)
#: Why the outcome of an email is unknown, as a clause.
_WORKER_DISAPPEARED = "its worker disappeared while the task ran"
_SEALED: Select[Any] = select(*IDENTITY_COLUMNS, emails.c.content)


@dataclass(frozen=True, kw_only=True)
class OwnTaskClaim:
    """The answer to a worker that is about to run a task of the service."""

    #: The emails that the task may send; empty if it must not run.
    claims: tuple[Claim, ...]
    #: Why the task must not run; "" if it may.
    refusal: str = ""


class OwnTaskClaims(Repository):
    """Records and claims emails that the service's own tasks send.

    Args:
        engine: of the delivery log's database, with the current schema.
        keyring: encrypts the content.
        lease: how long a claim holds.
        durable: whether what the service has published is on disk when it is recorded; claims always are.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        lease: timedelta,
        durable: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._keyring = keyring
        self._lease = lease
        self._durable = durable

    def record(self, drafts: Sequence[Draft], *, is_on_broker: bool = True) -> None:
        """Record the emails of one message that the service has published; known ones stay as they are.

        Args:
            drafts: the emails of one message.
            is_on_broker: whether a worker can receive the message; otherwise a relay publishes it.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        with writing(self._engine, durable=self._durable) as connection:
            self._record_new(connection, drafts, is_on_broker=is_on_broker, now=self._clock())

    def claim(
        self, drafts: Sequence[Draft], *, worker: str, retries: int, is_redelivered: bool = False
    ) -> OwnTaskClaim:
        """Record the emails of a message unless they are known, and claim those that are still to be sent.

        Args:
            drafts: the emails of one message.
            worker: the node name of the worker, shown to operators.
            retries: how often the task had asked for a retry before this message.
            is_redelivered: whether the broker has delivered the message before.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing is claimed.
        """
        lease = Lease(seconds=self._lease.total_seconds(), asked_at=boottime())
        now, token = self._clock(), new_claim_token()
        ids = [draft.id for draft in drafts]
        of_message = emails.c.id.in_(ids)
        # Durable: after a power failure nothing else says that the task may have sent the email.
        with writing(self._engine) as connection:
            self._record_new(connection, drafts, is_on_broker=True, now=now)
            self._end_earlier_runs(connection, of_message, retries=retries, now=now)
            if not is_redelivered:
                _release_unstarted(connection, of_message, now=now)
            is_allowed = and_(of_message, may_start(now + _EARLY), is_not_paused(), is_not_suppressed())
            rows = self._claim_rows(connection, is_allowed, token, worker=worker, now=now)
            if not rows:
                suppress_waiting(connection, ids, worker=worker, now=now)
                return_paused(connection, ids, now=now)
                return OwnTaskClaim(claims=(), refusal=_refusal(connection, ids[0]))
        by_id = {draft.id: draft for draft in drafts}
        return OwnTaskClaim(
            claims=tuple(
                claim_of(row, token, worker=worker, content=by_id[row.id].content, lease=lease)
                for row in rows
            )
        )

    def claim_late(self, drafts: Sequence[Draft], *, worker: str) -> tuple[Claim, ...]:
        """Claim the emails of a message whose task has run while the delivery log was down.

        Neither a pause nor a suppression stands against it, because the task has run. What has ended
        meanwhile, or is claimed by another worker, stays as it is.

        Args:
            drafts: the emails of one message.
            worker: the node name of the worker.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing is claimed.
        """
        lease = Lease(seconds=self._lease.total_seconds(), asked_at=boottime())
        now, token = self._clock(), new_claim_token()
        of_message = emails.c.id.in_([draft.id for draft in drafts])
        is_open = and_(of_message, UNINDEXED_STATE.in_([State.PENDING, State.QUEUED, State.DEFERRED]))
        with writing(self._engine) as connection:
            self._record_new(connection, drafts, is_on_broker=True, now=now)
            _release_unstarted(connection, of_message, now=now)
            rows = self._claim_rows(connection, is_open, token, worker=worker, now=now)
        by_id = {draft.id: draft for draft in drafts}
        return tuple(
            claim_of(row, token, worker=worker, content=by_id[row.id].content, lease=lease) for row in rows
        )

    def mark_lost(self, email_id: str) -> None:
        """Hold the emails of a task whose worker process died: nobody knows whether they were sent."""
        # The message is gone, even if the process died before it had claimed the emails.
        is_open = UNINDEXED_STATE.in_([State.QUEUED, State.SENDING])
        where = and_(_belongs_to_message(email_id), is_open)
        with writing(self._engine) as connection:
            hold_as_unknown(connection, where, why=_WORKER_DISAPPEARED, now=self._clock())

    def hold_stale(self) -> int:
        """Hold the emails of tasks whose workers let the lease run out; return how many."""
        # The index on the state finds the few that are being sent.
        is_sending = emails.c.state == State.SENDING
        return self._hold_lost(and_(is_sending, emails.c.is_own_task, emails.c.lease_until < self._clock()))

    def end_revoked(self, email_id: str, *, has_expired: bool) -> None:
        """Record that a worker has discarded a message because it was revoked, or has expired."""
        text = "its message expired" if has_expired else "its task was revoked"
        code = ReasonCode.EXPIRED if has_expired else ReasonCode.STOPPED
        target = State.EXPIRED if has_expired else State.CANCELLED
        is_waiting = and_(_belongs_to_message(email_id), UNINDEXED_STATE != State.SENDING)
        now, values = self._clock(), reason_values(Reason(code=code, text=text))
        with writing(self._engine) as connection:
            change_state(connection, is_waiting, target, text=text, values=values, now=now, code=code)

    def reclaim(self, claim: Claim) -> bool:
        """Claim an email again for a run that lost its claim, unless it has been claimed or changed since.

        Returns:
            Whether the claim holds again.
        """
        now = self._clock()
        is_idle = and_(emails.c.id == claim.id, emails.c.attempts == claim.attempts, emails.c.claim.is_(None))
        is_lost = and_(is_idle, emails.c.reason_code == ReasonCode.OWN_TASK_UNKNOWN)
        text, values = (
            "its worker was still running the task",
            {"claim": claim.token, "lease_until": now + self._lease},
        )
        with writing(self._engine) as connection:
            change_state(connection, is_lost, State.PENDING, text=text, values={}, now=now)
            is_waiting = and_(is_idle, UNINDEXED_STATE.in_([State.PENDING, State.DEFERRED]))
            return bool(
                change_state(connection, is_waiting, State.SENDING, text=text, values=values, now=now)
            )

    def fail_unpublished(self, drafts: Sequence[Draft]) -> None:
        """Record as failed the emails of a message that the broker did not accept."""
        now = self._clock()
        reason = Reason(code=ReasonCode.UNPUBLISHABLE, text="the broker did not accept its message")
        rows = [self._row(draft, now=now) | reason_values(reason) for draft in drafts]
        with writing(self._engine, durable=self._durable) as connection:
            for row in rows:
                row |= {"state": State.FAILED, "queued_at": None}
                if insert_or_ignore(connection, emails, row):
                    append_events(connection, [row["id"]], text=reason.text, now=now, code=reason.code)

    def record_address(self, email_id: str, address: str) -> None:
        """Record the recipient of an email, unless the arguments of its task contained one."""
        is_unknown = and_(emails.c.id == email_id, emails.c.to_address == "")
        with writing(self._engine, durable=False) as connection:
            row = connection.execute(_SEALED.where(is_unknown)).first()
            if row is not None:
                learned = (
                    update(emails)
                    .where(is_unknown)
                    .values(
                        to_address=address,
                        mailbox=canonical_mailbox(address),
                        content=self._resealed(row, recipient=address),
                    )
                )
                connection.execute(learned)

    def _resealed(self, row: Row[Any], *, recipient: str) -> bytes | None:
        """Return the content of a row, bound to another recipient; as it is if it cannot be opened."""
        identity = identity_from_row(row)
        changed = replace(identity, recipient=recipient)
        content: bytes | None = row.content
        return content and (reseal(content, self._keyring, identity, changed=changed) or content)

    def _record_new(
        self, connection: Connection, drafts: Sequence[Draft], *, is_on_broker: bool, now: datetime
    ) -> None:
        ids = [draft.id for draft in drafts]
        known = set(connection.execute(select(emails.c.id).where(emails.c.id.in_(ids))).scalars())
        # A message that was recorded as not accepted by the broker has arrived after all.
        if known:
            _requeue_unpublished(connection, ids, now=now)
        place = {} if is_on_broker else {"state": State.PENDING, "queued_at": None}
        for draft in drafts:
            row = self._row(draft, now=now) | place
            if draft.id not in known and insert_or_ignore(connection, emails, row):
                text, code = "published by the service's own code", ReasonCode.RECEIVED
                append_events(connection, [draft.id], text=text, now=now, code=code)

    def _row(self, draft: Draft, *, now: datetime) -> dict[str, Any]:
        row = email_row(draft, self._keyring, due_at=now, now=now)
        row |= {"state": State.QUEUED, "queued_at": now, "is_own_task": True}
        # A task with several recipients sends to all of them or to none: no rule can take out one.
        row["is_forced"] = draft.group_id is not None
        return row | ({} if draft.content.call else {"content": None})

    def _end_earlier_runs(
        self, connection: Connection, of_message: ColumnElement[bool], *, retries: int, now: datetime
    ) -> None:
        """End the claims of earlier runs: Celery publishes a retry only when its run has ended."""
        is_retry = and_(of_message, UNINDEXED_STATE == State.SENDING, emails.c.attempts <= retries)
        text, code = "the task had asked for a retry", ReasonCode.DEFERRED
        values = CLAIM_CLEARED | {"not_before": None}
        change_state(connection, is_retry, State.DEFERRED, text=text, values=values, now=now, code=code)
        self._hold_lost(and_(of_message, emails.c.lease_until < now), connection=connection)

    def _claim_rows(
        self,
        connection: Connection,
        where: ColumnElement[bool],
        token: str,
        *,
        worker: str,
        now: datetime,
    ) -> Sequence[Row[Any]]:
        values = {
            "claim": token,
            "lease_until": now + self._lease,
            "attempts": emails.c.attempts + 1,
            "worker": worker,
            "queued_in": None,
            "is_own_task": True,
        }
        return change_state(
            connection,
            where,
            State.SENDING,
            text="",
            values=values,
            now=now,
            returning=(emails.c.kind, emails.c.created_at, emails.c.expires_at),
        )

    def _hold_lost(self, where: ColumnElement[bool], *, connection: Connection | None = None) -> int:
        if connection is None:
            with writing(self._engine) as opened:
                return self._hold_lost(where, connection=opened)
        is_lost = and_(where, UNINDEXED_STATE == State.SENDING)
        return hold_as_unknown(connection, is_lost, why=_WORKER_DISAPPEARED, now=self._clock())


def _belongs_to_message(email_id: str) -> ColumnElement[bool]:
    """Return the condition that an email belongs to a message; the other recipients have its group id."""
    return and_(or_(emails.c.id == email_id, emails.c.group_id == email_id), emails.c.is_own_task)


def _requeue_unpublished(connection: Connection, ids: Collection[str], *, now: datetime) -> None:
    values = reason_values(None) | {"queued_at": now}
    was_unpublished = and_(
        emails.c.id.in_(ids),
        UNINDEXED_STATE == State.FAILED,
        emails.c.reason_code == ReasonCode.UNPUBLISHABLE,
        emails.c.attempts == 0,
    )
    text = "the broker has accepted its message after all"
    if change_state(connection, was_unpublished, State.PENDING, text=text, values=values, now=now):
        of_message = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.PENDING, emails.c.queued_at == now)
        change_state(connection, of_message, State.QUEUED, text=text, values={}, now=now)


def _release_unstarted(connection: Connection, of_message: ColumnElement[bool], *, now: datetime) -> None:
    """Release emails that were held because their message was missing: a worker had it and has not begun."""
    was_missing = and_(
        of_message,
        UNINDEXED_STATE == State.HELD,
        emails.c.reason_code == ReasonCode.OWN_TASK_UNKNOWN,
        emails.c.attempts == 0,
    )
    values = reason_values(None) | {"maybe_sent": False}
    text = "a worker had its message"
    change_state(connection, was_missing, State.PENDING, text=text, values=values, now=now)


def _refusal(connection: Connection, email_id: str) -> str:
    row = connection.execute(select(emails.c.state, emails.c.error).where(emails.c.id == email_id)).one()
    if row.state == State.SENDING:
        return "another worker has claimed it"
    return f"it is {row.state}" + (f": {row.error}" if row.error else "")
