"""What operators do to emails: conditional on the state, with an event that says who, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, select, update

from mailctl.delivery_log.rule_enforcement import is_not_suppressed
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails
from mailctl.delivery_log.transitions import append_events, change_state, reason_values, utc_now
from mailctl.domain.models import State
from mailctl.domain.reason_codes import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Engine

    from mailctl.delivery_log.outbox import Outbox
    from mailctl.domain.models import Draft


@dataclass(frozen=True, kw_only=True)
class AuditInfo:
    """Who does something, and why."""

    actor: str
    #: In the operator's words; "" if nothing was said.
    reason: str = ""
    #: A word by which the emails are found again that were stopped together.
    batch_mark: str = ""

    def describe(self, what: str) -> str:
        """Return what was done, with the reason."""
        return f"{what}: {self.reason}" if self.reason else what


@dataclass(frozen=True, kw_only=True)
class ActionFacts:
    """Which of some emails have what their own fields do not tell."""

    with_content: frozenset[str]
    maybe_sent: frozenset[str]
    resent: frozenset[str]
    #: To addresses that nothing is sent to, and not forced.
    to_suppressed_address: frozenset[str]


class OperatorActions:
    """Stops emails, lets them go again, and makes new ones of them.

    Each statement takes only what is still in a fitting state: what a worker has claimed, it keeps.

    Args:
        engine: of the delivery log's database, its schema current.
        outbox: of the same log.
        clock: gives the time.
    """

    def __init__(self, engine: Engine, outbox: Outbox, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._outbox = outbox
        self._clock = clock

    def read_facts(self, ids: Collection[str]) -> ActionFacts:
        """Return which of the emails have content, may be delivered, were resent, and go to nobody."""
        are_they = emails.c.id.in_(ids)
        with_content = select(emails.c.id).where(are_they, emails.c.content.is_not(None))
        resent = select(emails.c.id).where(are_they, emails.c.resent_as.is_not(None))
        maybe_sent = select(emails.c.id).where(are_they, emails.c.maybe_sent.is_(True))
        with reading(self._engine) as connection:

            def found(query: Any) -> frozenset[str]:
                return frozenset(connection.execute(query).scalars())

            return ActionFacts(
                with_content=found(with_content),
                maybe_sent=found(maybe_sent),
                resent=found(resent),
                to_suppressed_address=found(select(emails.c.id).where(are_they, ~is_not_suppressed())),
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
        """Hold or cancel emails that nobody is sending; a message that is out finds nothing to do then.

        Args:
            target: held or cancelled.
            from_states: the states in which that can be done.
            done: what the reason says was done.

        Returns:
            The ids of those that were stopped.
        """
        mark = f" ({audit.batch_mark})" if audit.batch_mark else ""
        error = audit.describe(f"{done} by {audit.actor}{mark}")
        values = reason_values(Reason(code=ReasonCode.STOPPED, text=error))
        values |= {"queued_at": None, "queued_in": None}
        are_fit = and_(emails.c.id.in_(ids), UNINDEXED_STATE.in_(from_states))
        return self._change_state(
            are_fit, target, text=audit.describe(done), code=ReasonCode.STOPPED, values=values, audit=audit
        )

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
        """Let undelivered emails go out now.

        Args:
            from_states: the states in which that can be done.
            lifetime: what each has to live from now on; None leaves it as it was.
            is_forced: whether neither suppression nor limits shall keep them back.
            again: also those that a new email was made from.

        Returns:
            The ids of those that go out.
        """
        now = self._clock()
        values: dict[str, Any] = {
            "due_at": now,
            "not_before": None,
            # They begin anew, but for those that were in the middle of it.
            "attempts": case((emails.c.state == State.DEFERRED, emails.c.attempts), else_=0),
            **_CLEARED,
        }
        if lifetime is not None:
            values["expires_at"] = now + lifetime
        if is_forced:
            values["is_forced"] = True
        are_fit = _can_be_sent(ids, from_states, again=again)
        text, code = audit.describe("retried"), ReasonCode.RETRIED
        return self._change_state(are_fit, State.PENDING, text=text, code=code, values=values, audit=audit)

    def release(
        self, ids: Collection[str], *, from_states: Collection[State], audit: AuditInfo, again: bool
    ) -> frozenset[str]:
        """Let held and cancelled emails go out when they would have; return the ids of those that do.

        Args:
            from_states: the states in which that can be done.
            again: also those that a new email was made from.
        """
        now = self._clock()
        is_scheduled = emails.c.not_before > now
        values = {"due_at": case((is_scheduled, emails.c.not_before), else_=now), **_CLEARED}
        are_fit = _can_be_sent(ids, from_states, again=again)
        text, code = audit.describe("released"), ReasonCode.RELEASED
        return self._change_state(are_fit, State.PENDING, text=text, code=code, values=values, audit=audit)

    def resend(
        self, email_id: str, draft: Draft, *, from_states: Collection[State], audit: AuditInfo, again: bool
    ) -> bool:
        """Record a new email that is made of an old one; both events name the other.

        Args:
            email_id: of the old one.
            draft: the new one.
            from_states: the states of the old one in which that can be done.
            again: also if one was made of it before.

        Returns:
            Whether it was done.
        """
        now, resent = self._clock(), Reason(code=ReasonCode.RESENT, text=f"resent as {draft.id}")
        # The mark is on the row, so that of two operators one comes second.
        marked = (
            update(emails)
            .where(_can_be_sent([email_id], from_states, again=again))
            .values(**reason_values(resent), resent_as=draft.id, updated_at=now)
            .returning(emails.c.id)
        )
        with writing(self._engine) as connection:
            if connection.execute(marked).first() is None:
                return False
            self._append_event(connection, email_id, resent, audit, now=now)
            row = self._outbox.build_row(draft, state=State.PENDING, due_at=now, now=now)
            insert_rows(connection, emails, [row])
            made = Reason(code=ReasonCode.RESEND, text=f"recorded; is a resend of {email_id}")
            self._append_event(connection, draft.id, made, audit, now=now)
        return True

    def _append_event(
        self, connection: Connection, email_id: str, reason: Reason, audit: AuditInfo, *, now: datetime
    ) -> None:
        text = audit.describe(reason.text)
        append_events(connection, [email_id], text=text, now=now, code=reason.code, actor=audit.actor)

    def _change_state(
        self,
        where: ColumnElement[bool],
        target: State,
        *,
        text: str,
        code: ReasonCode,
        values: dict[str, Any],
        audit: AuditInfo,
    ) -> frozenset[str]:
        now = self._clock()
        with writing(self._engine) as connection:
            rows = change_state(
                connection, where, target, text=text, values=values, now=now, code=code, actor=audit.actor
            )
        return frozenset(row.id for row in rows)


_CLEARED: dict[str, Any] = reason_values(None) | {"resent_as": None, "queued_at": None, "queued_in": None}


def _can_be_sent(ids: Collection[str], from_states: Collection[State], *, again: bool) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [
        emails.c.id.in_(ids),
        UNINDEXED_STATE.in_(from_states),
        emails.c.content.is_not(None),
    ]
    if not again:
        conditions.append(emails.c.resent_as.is_(None))
    return and_(*conditions)
