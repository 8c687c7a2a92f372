"""The results of attempts: each is recorded only by the worker whose claim still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, insert, select, update

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.suppressions import is_dead_mailbox, suppress_dead_mailbox
from mailctl.delivery_log.transitions import CLAIM_CLEARED, change_state, reason_values
from mailctl.domain.models import MAYBE_SENT, SENT_OR_CAPTURED, State
from mailctl.domain.outcomes import OutcomeKind
from mailctl.domain.reason_codes import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from mailctl.domain.models import Claim, Deferral, Json, SentClaim
    from mailctl.domain.outcomes import Outcome


class AttemptResults(Repository):
    """Records how claimed emails ended, or when they are tried again.

    Args:
        engine: of the delivery log's database, with the current schema.
        durable: whether the outcomes of a group are on disk when they are recorded.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self, engine: Engine, *, durable: bool = True, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(engine, clock=clock)
        self._durable = durable

    def finish_sent(self, sent: Sequence[SentClaim]) -> list[str]:
        """Record that emails were sent or captured, in a fixed number of statements.

        Returns:
            The ids of the emails that were not recorded, because another worker has claimed them by now.
        """
        now = self._clock()
        rows = {each.claim.id: _sent_row(each, now) for each in sent}
        new_events = {each.claim.id: _sent_event(each, now) for each in sent}
        parameters = {"ids": list(rows), "tokens": list({each.claim.token for each in sent})}
        # If a crash undoes this, the emails count as maybe sent, as they do until this is written.
        with writing(self._engine, durable=self._durable) as connection:
            claimed = connection.execute(_SELECT_STILL_CLAIMED, parameters).scalars().all()
            if claimed:
                connection.execute(_FINISH, [rows[email_id] for email_id in claimed])
                connection.execute(_INSERT_EVENTS, [new_events[email_id] for email_id in claimed])
        return [email_id for email_id in rows if email_id not in set(claimed)]

    def finish(
        self,
        claim: Claim,
        state: State,
        *,
        outcome: Outcome | None = None,
        reason: Reason | None = None,
        message_id: str | None = None,
        canary_report: Sequence[Json] | None = None,
    ) -> bool:
        """Record the end of a claimed email; suppress its address if the mailbox does not exist.

        Args:
            state: a final state, or held.
            outcome: the result of the attempt; None if no mail server was asked.
            reason: why the email was not sent; None if it was sent or captured.
            message_id: the Message-ID of the message; None if none was composed.
            canary_report: how each step of a canary went.

        Returns:
            Whether it was recorded; False if another worker has claimed the email by now.
        """
        now = self._clock()
        values = _outcome_values(outcome) | reason_values(reason) | {"message_id": message_id} | CLAIM_CLEARED
        if canary_report is not None:
            values["canary_report"] = list(canary_report)
        if state in SENT_OR_CAPTURED:
            values |= {"sent_at": now, "content": None}
        text = reason.text if reason else str(outcome or "")
        is_dead = outcome is not None and state is State.FAILED and is_dead_mailbox(outcome)
        text += "; the address is suppressed from now on" if is_dead else ""
        with writing(self._engine) as connection:
            ended = change_state(
                connection,
                _is_held_by(claim),
                state,
                text=text,
                values=values,
                now=now,
                code=reason.code if reason else None,
                stage=(outcome.stage if outcome else "") or None,
            )
            if ended and outcome is not None and is_dead:
                suppress_dead_mailbox(connection, claim.content.user.email, outcome, now=now)
        return bool(ended)

    def defer(self, *deferrals: Deferral) -> list[str]:
        """Record, in one transaction, that claimed emails have to be tried again.

        Returns:
            The ids of the emails that were not recorded, because another worker has claimed them by now.
        """
        now = self._clock()
        # In one order, so that of two transactions one waits for the other.
        ordered = sorted(deferrals, key=lambda each: each.claim.id)
        with writing(self._engine) as connection:
            return [each.claim.id for each in ordered if not _defer(connection, each, now)]

    def let_go(self, claim: Claim) -> bool:
        """Return a claimed email that was not handed over to the log; that was no attempt.

        Returns:
            Whether it was recorded; False if another worker has claimed the email by now.
        """
        now = self._clock()
        values = CLAIM_CLEARED | {"due_at": now, "queued_at": None, "attempts": emails.c.attempts - 1}
        with writing(self._engine) as connection:
            returned = return_to_log(
                connection,
                _is_held_by(claim),
                text="too little of the lease was left to hand it over; nothing was sent",
                values=values,
                now=now,
                code=ReasonCode.NOT_STARTED,
            )
        return bool(returned)


_SELECT_STILL_CLAIMED = (
    select(emails.c.id)
    .where(
        emails.c.id.in_(bindparam("ids", expanding=True)),
        emails.c.claim.in_(bindparam("tokens", expanding=True)),
        UNINDEXED_STATE == State.SENDING,
    )
    .with_for_update()
)
_INSERT_EVENTS = insert(events)
_FINISH = (
    update(emails)
    .where(emails.c.id == bindparam("b_id"))
    .values(
        state=bindparam("b_state"),
        updated_at=bindparam("b_now"),
        sent_at=bindparam("b_now"),
        message_id=bindparam("b_message_id"),
        smtp_code=bindparam("b_code"),
        smtp_enhanced=bindparam("b_enhanced"),
        smtp_text=bindparam("b_text"),
        captured_file=bindparam("b_captured_file"),
        content=None,
        **reason_values(None),
        **CLAIM_CLEARED,
    )
)


def _is_held_by(claim: Claim) -> ColumnElement[bool]:
    return and_(emails.c.id == claim.id, emails.c.claim == claim.token, emails.c.state == State.SENDING)


def _sent_row(sent: SentClaim, now: datetime) -> dict[str, Any]:
    outcome = sent.outcome
    return {
        "b_id": sent.claim.id,
        "b_state": sent.state,
        "b_now": now,
        "b_message_id": sent.message_id,
        "b_code": outcome.reply.code,
        "b_enhanced": outcome.reply.enhanced,
        "b_text": outcome.reply.text or None,
        "b_captured_file": outcome.captured_file,
    }


def _sent_event(sent: SentClaim, now: datetime) -> dict[str, Any]:
    claim = sent.claim
    return {
        "email_id": claim.id,
        "at": now,
        "state": sent.state,
        "attempt": claim.attempts,
        "worker": claim.worker,
        "code": sent.outcome.reply.code,
        "text": str(sent.outcome),
    }


def _outcome_values(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    reply = outcome.reply
    values = {"smtp_code": reply.code, "smtp_enhanced": reply.enhanced, "smtp_text": reply.text or None}
    # A later attempt does not tell what happened to an earlier one: the email stays maybe sent.
    doubt = {"maybe_sent": True} if outcome.kind is OutcomeKind.AMBIGUOUS else {}
    return {**values, **doubt, "captured_file": outcome.captured_file}


def _defer(connection: Connection, deferral: Deferral, now: datetime) -> bool:
    """Record a deferral; return whether the email was still claimed."""
    outcome, is_held = deferral.outcome, _is_held_by(deferral.claim)
    code, text = outcome.reason_code or ReasonCode.UNSPECIFIED, _deferral_text(outcome)
    values = _outcome_values(outcome) | CLAIM_CLEARED
    values |= reason_values(Reason(code=code, text=str(outcome)))
    values |= {"due_at": deferral.until, "not_before": deferral.until, "message_id": deferral.message_id}
    if not deferral.counts_as_attempt:
        values["attempts"] = emails.c.attempts - 1
    if not outcome.stage:  # no mail server was asked
        target = State.DEFERRED
        return bool(
            return_to_log(connection, is_held, target=target, text=text, values=values, now=now, code=code)
        )
    return bool(
        change_state(
            connection,
            is_held,
            State.DEFERRED,
            text=text,
            values=values,
            now=now,
            code=code,
            stage=outcome.stage,
        )
    )


def _deferral_text(outcome: Outcome) -> str:
    text = f"{outcome.kind} {outcome.text_with_stage}" if outcome.stage else str(outcome)
    return f"{text}; {MAYBE_SENT}" if outcome.kind is OutcomeKind.AMBIGUOUS else text
