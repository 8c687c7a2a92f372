"""Failed attempts: the events at which emails failed, expired, bounced or were deferred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl.delivery_log.queries.statistics import first_event_seq_since
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

#: The newest events that are returned at most.
MAX_ATTEMPTS = 20_000
_FAILURE_STATES = (State.DEFERRED, State.FAILED, State.EXPIRED, State.BOUNCED)
#: An email that waits for its turn has not been tried.
_WAS_TRIED = func.coalesce(events.c.reason_code, "") != ReasonCode.SEND_RATE


@dataclass(frozen=True, kw_only=True)
class FailedAttempt:
    """An attempt that failed for good or for now, or an email that expired or bounced."""

    email_id: str
    at: datetime
    #: The state that it led to.
    state: State
    #: The state of the email now.
    state_now: State
    reason_code: ReasonCode | None
    #: The SMTP stage; "" if no mail server was contacted.
    stage: str
    #: The reply of the mail server; its code is None if there was none.
    reply: SmtpReply
    #: What happened, for people.
    text: str
    recipient: str
    kind: str
    queue: str
    campaign: str | None


def find_failed_attempts(
    engine: Engine, *, since: datetime, campaign: str | None = None
) -> list[FailedAttempt]:
    """Return the failed attempts since a time, newest first, up to `MAX_ATTEMPTS`.

    Args:
        engine: of the delivery log.
        since: the earliest time.
        campaign: only emails of this campaign; None for all.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = (
        select(
            *(events.c.email_id, events.c.at, events.c.state, events.c.reason_code, events.c.stage),
            *(events.c.code, events.c.text, emails.c.to_address, emails.c.kind, emails.c.queue),
            *(emails.c.campaign, emails.c.state.label("state_now"), emails.c.smtp_code),
            *(emails.c.smtp_enhanced, emails.c.smtp_text),
        )
        .join(emails, emails.c.id == events.c.email_id)
        .where(events.c.state.in_(_FAILURE_STATES), _WAS_TRIED, is_state_change())
        .order_by(events.c.seq.desc())
        .limit(MAX_ATTEMPTS)
    )
    if campaign is not None:
        query = query.where(emails.c.campaign == campaign)
    with reading(engine) as connection:
        first = first_event_seq_since(connection, since)
        return [_attempt_from_row(row) for row in connection.execute(query.where(events.c.seq >= first))]


def _attempt_from_row(row: Any) -> FailedAttempt:
    return FailedAttempt(
        email_id=row.email_id,
        at=row.at,
        state=State(row.state),
        state_now=State(row.state_now),
        reason_code=row.reason_code and ReasonCode(row.reason_code),
        stage=row.stage or "",
        reply=_reply_from_row(row),
        text=row.text,
        recipient=row.to_address,
        kind=row.kind,
        queue=row.queue,
        campaign=row.campaign,
    )


def _reply_from_row(row: Any) -> SmtpReply:
    """Return the reply to the attempt; the email has the words of its last one only."""
    if row.code is None:
        return SmtpReply()
    if row.code != row.smtp_code:
        return SmtpReply(code=row.code, text=row.text)
    return SmtpReply(code=row.code, enhanced=row.smtp_enhanced, text=row.smtp_text or "")
