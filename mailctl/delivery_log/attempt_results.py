"""The results of attempts: each is recorded only by the worker whose claim still holds."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    column,
    func,
    select,
    update,
)

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import as_json_rows, is_among, json_row_columns
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.suppressions import is_dead_mailbox, suppress_dead_mailbox
from mailctl.delivery_log.transitions import CLAIM_CLEARED, change_state, reason_values
from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.outcomes import OutcomeKind
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import SENT_OR_CAPTURED, State
from mailctl.process.boot_clock import boottime
from mailctl.timefmt import format_age

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Update
    from sqlalchemy.types import TypeEngine

    from mailctl.domain.models import Claim, Deferral, Json, SentClaim
    from mailctl.domain.outcomes import Outcome


#: Seconds after its end from which on it is said how late an attempt is recorded.
_LATE_SECONDS = 15.0


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
        new_events = {each.claim.id: _sent_event(each, now) for each in sent}
        # If a crash undoes this, the emails count as maybe sent, as they do until this is written.
        with writing(self._engine, durable=self._durable) as connection:
            finished = _finish_sent(connection, sent, now)
            insert_rows(connection, events, [new_events[email_id] for email_id in finished])
        return [email_id for email_id in new_events if email_id not in set(finished)]

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
        text += _delay_text(outcome)
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


def _finish_sent(connection: Connection, sent: Sequence[SentClaim], now: datetime) -> Sequence[str]:
    """Record emails as sent or captured whose claims still hold; return their ids."""
    rows = {each.claim.id: _sent_row(each, now) for each in sent}
    if connection.dialect.name == "postgresql":  # which would plan an UPDATE for each email
        columns = {name: [row[name] for row in rows.values()] for name in _SENT_TYPES}
        parameters: dict[str, Any] = {**columns, "b_now": now, "ids": list(rows)}
        return connection.execute(_FINISH_TOGETHER, parameters).scalars().all()
    parameters = {"ids": list(rows), "tokens": list({each.claim.token for each in sent})}
    claimed: list[str] = json.loads(connection.execute(_SELECT_STILL_CLAIMED, parameters).scalar_one())
    if claimed:
        given = as_json_rows([rows[email_id] for email_id in claimed], _SENT_TYPES)
        connection.execute(_FINISH_LISTED, {"given": given, "b_now": now})
    return claimed


#: As one value: with each row that is fetched, the driver of SQLite lets another thread run.
_SELECT_STILL_CLAIMED = select(func.json_group_array(emails.c.id)).where(
    is_among(emails.c.id, "ids"),
    is_among(emails.c.claim, "tokens"),
    UNINDEXED_STATE == State.SENDING,
)
#: What differs between emails that are recorded as sent together.
_SENT_TYPES: Mapping[str, TypeEngine[Any]] = MappingProxyType(
    {
        "b_id": String(),
        "b_token": String(),
        "b_state": String(),
        "b_message_id": String(),
        "b_code": Integer(),
        "b_enhanced": String(),
        "b_text": Text(),
        "b_captured_file": Text(),
    }
)


def _finish(values: Mapping[str, ColumnElement[Any]]) -> Update:
    """Return the statement that records emails as sent or captured.

    Args:
        values: what differs between them, by the names of `_SENT_TYPES`.
    """
    now = bindparam("b_now", type_=UtcDateTime)
    return (
        update(emails)
        .where(emails.c.id == values["b_id"])
        .values(
            state=values["b_state"],
            updated_at=now,
            sent_at=now,
            message_id=values["b_message_id"],
            smtp_code=values["b_code"],
            smtp_enhanced=values["b_enhanced"],
            smtp_text=values["b_text"],
            captured_file=values["b_captured_file"],
            content=None,
            **reason_values(None),
            **CLAIM_CLEARED,
        )
    )


#: The same emails in one statement of SQLite.
_FINISH_LISTED = _finish(json_row_columns("given", _SENT_TYPES))
#: Lists of the values of several emails, as a table.
_SENT = (
    func.unnest(*(bindparam(name, type_=ARRAY(type_)) for name, type_ in _SENT_TYPES.items()))
    .table_valued(*(column(name, type_) for name, type_ in _SENT_TYPES.items()), name="given")
    .render_derived()
)
_FINISH_TOGETHER = (
    _finish(dict(_SENT.c.items()))
    # By the ids themselves, too: they tell which partitions have the emails.
    .where(emails.c.id.in_(bindparam("ids", expanding=True)))
    .where(emails.c.claim == _SENT.c.b_token, UNINDEXED_STATE == State.SENDING)
    .returning(emails.c.id)
)


def _is_held_by(claim: Claim) -> ColumnElement[bool]:
    return and_(emails.c.id == claim.id, emails.c.claim == claim.token, emails.c.state == State.SENDING)


def _sent_row(sent: SentClaim, now: datetime) -> dict[str, Any]:
    outcome = sent.outcome
    return {
        "b_id": sent.claim.id,
        "b_token": sent.claim.token,
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
        "text": str(sent.outcome) + _delay_text(sent.outcome),
    }


def _delay_text(outcome: Outcome | None) -> str:
    """Return how much later than the end of an attempt it is recorded, as after an outage of the log."""
    if outcome is None or outcome.ended_at is None:
        return ""
    seconds = boottime() - outcome.ended_at
    return f"; recorded {format_age(seconds)} after that" if seconds >= _LATE_SECONDS else ""


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
    text = outcome.text_after("deferred")
    return f"{text}; {MAYBE_SENT}" if outcome.kind is OutcomeKind.AMBIGUOUS else text
