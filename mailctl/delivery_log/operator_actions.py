"""The actions of operators: each changes only emails in a suitable state, and its events say who and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select, update

from mailctl.delivery_log.due import starts_later
from mailctl.delivery_log.queries.search import conditions_of
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row
from mailctl.delivery_log.rule_enforcement import is_to_suppressed_address
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.sqlite import enlarge_page_cache
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails
from mailctl.delivery_log.transitions import (
    append_events,
    append_events_where,
    change_state,
    reason_values,
)
from mailctl.delivery_log.unsubscribes import has_unsubscribed
from mailctl.domain.own_tasks import OTHER_WORKER
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Engine

    from mailctl.delivery_log.outbox import Outbox
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.domain.models import Draft, Email


@dataclass(frozen=True, kw_only=True)
class AuditInfo:
    """The operator who acts, and the reason."""

    actor: str
    #: In the operator's own words; "" if none was given.
    reason: str = ""
    #: The id of the bulk action, by which the emails that it stops are found again; None for emails by id.
    bulk_action_id: str | None = None

    def describe(self, done: str) -> str:
        """Return what was done, followed by the operator's reason."""
        return f"{done}: {self.reason}" if self.reason else done


@dataclass(frozen=True, kw_only=True)
class ActionFacts:
    """The facts that decide which actions are possible, each as the set of ids of which it is true."""

    with_content: frozenset[str]
    #: The mail server may have accepted an attempt.
    maybe_sent: frozenset[str]
    resent: frozenset[str]
    #: To a suppressed address, and not forced.
    to_suppressed_address: frozenset[str]
    #: To a recipient who has unsubscribed from such emails, and not forced.
    to_unsubscribed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class StoppedBatch:
    """The result of an action on the first emails that match a filter."""

    #: The number of emails that were stopped, and of those among them whose messages are on the broker.
    stopped: int
    on_broker: int
    #: The emails that were not stopped.
    others: tuple[Email, ...]
    #: Where the next batch begins; None if this was the last one.
    cursor: int | None


class OperatorActions(Repository):
    """Stops emails, retries and releases them, and records new copies of them.

    Each statement changes only emails that are still in a suitable state: a worker keeps what it has claimed.

    Args:
        engine: of the delivery log's database, with the current schema.
        outbox: of the same log; records the new copies.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self, engine: Engine, outbox: Outbox, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(engine, clock=clock)
        self._outbox = outbox

    def read_facts(self, ids: Collection[str]) -> ActionFacts:
        """Return which of the emails have content, may have been sent, were resent, or may not be sent."""
        if not ids:
            return ActionFacts(**dict.fromkeys(_FACTS, frozenset()))
        query = select(emails.c.id, *(condition.label(name) for name, condition in _FACTS.items()))
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(emails.c.id.in_(ids))).all()
        return ActionFacts(
            **{name: frozenset(row.id for row in rows if getattr(row, name)) for name in _FACTS}
        )

    def stop(
        self,
        ids: Collection[str],
        target: State,
        *,
        from_states: Collection[State],
        done: str,
        audit: AuditInfo,
    ) -> frozenset[str]:
        """Hold or cancel emails that no worker has claimed; their messages on the broker then do nothing.

        Args:
            target: held or cancelled.
            from_states: the states in which this can be done.
            done: the past participle of the action, such as "purged", for the texts.

        Returns:
            The ids of the emails that were stopped.
        """
        can_stop = and_(emails.c.id.in_(ids), UNINDEXED_STATE.in_(from_states))
        reason = Reason(code=ReasonCode.STOPPED, text=done)
        return self._change_state(can_stop, target, reason, values=_stopped(done, audit), audit=audit)

    def stop_matching(
        self,
        wanted: EmailFilter,
        target: State,
        *,
        limit: int,
        after: int,
        own_task_kinds: Collection[str] | None,
        done: str,
        audit: AuditInfo,
    ) -> StoppedBatch:
        """Stop the first emails that match a filter, as `stop` does, in few statements however many they are.

        Args:
            wanted: the filter; the action can be done in each of its states.
            limit: how many emails at most.
            after: the cursor of the batch before; 0 for the first one.
            own_task_kinds: the kinds that the service's own tasks send, without asking the log; None if they
                ask it. Such emails are not stopped while their messages are on the broker.
            audit: of a bulk action, by whose id the emails are found.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            enlarge_page_cache(connection)
            matches = [*conditions_of(wanted), emails.c.seq > after]
            last = connection.execute(
                select(emails.c.seq).where(*matches).order_by(emails.c.seq).limit(1).offset(limit - 1)
            ).scalar()
            if last is not None:
                matches.append(emails.c.seq <= last)
            is_queued, can_stop = emails.c.state == State.QUEUED, and_(*matches)
            if own_task_kinds is not None:
                is_own = or_(emails.c.is_own_task.is_(True), emails.c.kind.in_(own_task_kinds))
                can_stop = and_(can_stop, not_(and_(is_queued, is_own)))
            on_broker = connection.execute(
                select(func.count()).select_from(emails).where(can_stop, is_queued)
            ).scalar_one()
            values = {"state": target, "updated_at": now, **_stopped(done, audit)}
            stopped = connection.execute(update(emails).where(can_stop).values(**values)).rowcount
            is_in_batch = emails.c.seq > after if last is None else emails.c.seq.between(after + 1, last)
            is_mine = and_(is_in_batch, emails.c.stopped_by == audit.bulk_action_id)
            text = audit.describe(done)
            append_events_where(
                connection, is_mine, text=text, now=now, code=ReasonCode.STOPPED, actor=audit.actor
            )
            left: Any = SELECT_EMAILS.where(*matches).order_by(emails.c.seq)
            others = tuple(email_from_row(row) for row in connection.execute(left))
        return StoppedBatch(stopped=stopped, on_broker=on_broker, others=others, cursor=last)

    def retry(
        self,
        ids: Collection[str],
        *,
        from_states: Collection[State],
        audit: AuditInfo,
        lifetime: timedelta | None,
        is_forced: bool,
        again: bool,
    ) -> frozenset[str]:
        """Make unsent emails due now.

        Args:
            from_states: the states in which this can be done.
            lifetime: how long each is worth sending from now on; None keeps the time at which it expires.
            is_forced: whether suppressions and limits no longer apply to them.
            again: whether to include emails that were resent.

        Returns:
            The ids of the emails that are due now.
        """
        now = self._clock()
        values: dict[str, Any] = {
            "due_at": now,
            "not_before": None,
            # A deferred email is in the middle of its attempts.
            "attempts": case((emails.c.state == State.DEFERRED, emails.c.attempts), else_=0),
            **_CLEARED,
        }
        if is_forced:
            values["is_forced"] = True
        can_send = _can_be_sent(ids, from_states, again=again)
        reason = Reason(code=ReasonCode.RETRIED, text="retried")
        expires_at = None if lifetime is None else now + lifetime
        return self._change_state(
            can_send, State.PENDING, reason, values=values, audit=audit, expires_at=expires_at
        )

    def release(
        self, ids: Collection[str], *, from_states: Collection[State], audit: AuditInfo, again: bool
    ) -> frozenset[str]:
        """Release held and cancelled emails: they are due now, or at the time for which they are scheduled.

        Args:
            from_states: the states in which this can be done.
            again: whether to include emails that were resent.

        Returns:
            The ids of the emails that were released.
        """
        now = self._clock()
        values = {"due_at": case((starts_later(now), emails.c.not_before), else_=now), **_CLEARED}
        can_send = _can_be_sent(ids, from_states, again=again)
        reason = Reason(code=ReasonCode.RELEASED, text="released")
        return self._change_state(can_send, State.PENDING, reason, values=values, audit=audit)

    def resend(
        self, email_id: str, draft: Draft, *, from_states: Collection[State], audit: AuditInfo, again: bool
    ) -> bool:
        """Record a new copy of an email; an event of each names the other.

        Args:
            email_id: of the old email.
            draft: the new copy.
            from_states: the states of the old email in which this can be done.
            again: whether to do it although the old email was resent before.

        Returns:
            Whether it was done.
        """
        now, resent = self._clock(), Reason(code=ReasonCode.RESENT, text=f"resent as {draft.id}")
        # The id of the copy is on the old row, so that the second of two operators finds it there.
        marked = (
            update(emails)
            .where(_can_be_sent([email_id], from_states, again=again))
            .values(**reason_values(resent), resent_as=draft.id, updated_at=now)
            .returning(emails.c.id)
        )
        with writing(self._engine) as connection:
            if connection.execute(marked).first() is None:
                return False
            _append_event(connection, email_id, resent, audit, now=now)
            insert_rows(connection, emails, [self._outbox.new_row(draft, due_at=now, now=now)])
            copy = Reason(code=ReasonCode.RESEND, text=f"recorded; is a resend of {email_id}")
            _append_event(connection, draft.id, copy, audit, now=now)
        return True

    def _change_state(
        self,
        where: ColumnElement[bool],
        target: State,
        reason: Reason,
        *,
        values: dict[str, Any],
        audit: AuditInfo,
        expires_at: datetime | None = None,
    ) -> frozenset[str]:
        now, text = self._clock(), audit.describe(reason.text)
        with writing(self._engine) as connection:
            rows = change_state(
                connection,
                where,
                target,
                text=text,
                values=values,
                now=now,
                code=reason.code,
                actor=audit.actor,
            )
            ids = frozenset(row.id for row in rows)
            if expires_at is not None:
                self._outbox.set_expiry(connection, ids, expires_at)
        return ids


#: Whether a worker without this log may have taken the message.
_MAY_BE_TAKEN = and_(emails.c.state == State.QUEUED, emails.c.is_in_full.is_(True))
_IS_UNFORCED = emails.c.is_forced.is_(False)
#: The conditions of the facts in `ActionFacts`, by name.
_FACTS: dict[str, ColumnElement[bool]] = {
    "with_content": emails.c.content.is_not(None),
    "maybe_sent": emails.c.maybe_sent.is_(True),
    "resent": emails.c.resent_as.is_not(None),
    "to_suppressed_address": and_(_IS_UNFORCED, is_to_suppressed_address()),
    "to_unsubscribed": and_(_IS_UNFORCED, has_unsubscribed()),
}
_CLEARED: dict[str, Any] = reason_values(None) | dict.fromkeys(
    ("stopped_by", "resent_as", "queued_at", "queued_in")
)


def _stopped(done: str, audit: AuditInfo) -> dict[str, Any]:
    """Return the columns of an email that say who stopped it."""
    which = f" ({audit.bulk_action_id})" if audit.bulk_action_id else ""
    error = audit.describe(f"{done} by {audit.actor}{which}")
    values = reason_values(Reason(code=ReasonCode.STOPPED, text=error))
    doubt = f"{error}; {OTHER_WORKER} may have sent it, or may still send it"
    return values | {
        "error": case((_MAY_BE_TAKEN, doubt), else_=error),
        "maybe_sent": case((_MAY_BE_TAKEN, True), else_=emails.c.maybe_sent),
        "stopped_by": audit.bulk_action_id,
        "queued_at": None,
        "queued_in": None,
    }


def _append_event(
    connection: Connection, email_id: str, reason: Reason, audit: AuditInfo, *, now: datetime
) -> None:
    text = audit.describe(reason.text)
    append_events(connection, [email_id], text=text, now=now, code=reason.code, actor=audit.actor)


def _can_be_sent(ids: Collection[str], from_states: Collection[State], *, again: bool) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [
        emails.c.id.in_(ids),
        UNINDEXED_STATE.in_(from_states),
        emails.c.content.is_not(None),
    ]
    if not again:
        conditions.append(emails.c.resent_as.is_(None))
    return and_(*conditions)
