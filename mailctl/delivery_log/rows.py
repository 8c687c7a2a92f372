"""Conversion of rows of the delivery log to values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from mailctl.delivery_log.storage.encryption import RowIdentity
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.models import Email, Event
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from sqlalchemy import Row

#: Members by value: calling the class of an enum takes several times as long as looking up a key.
_STATES = {str(state): state for state in State}
_REASON_CODES = {str(code): code for code in ReasonCode}
#: The columns of an `Email`: all but the encrypted content.
EMAIL_COLUMNS = (
    emails.c.id,
    emails.c.kind,
    emails.c.state,
    emails.c.queue,
    emails.c.to_address,
    emails.c.user_id,
    emails.c.attempts,
    emails.c.created_at,
    emails.c.updated_at,
    emails.c.due_at,
    emails.c.not_before,
    emails.c.queued_at,
    emails.c.sent_at,
    emails.c.expires_at,
    emails.c.lease_until,
    emails.c.worker,
    emails.c.message_id,
    emails.c.smtp_code,
    emails.c.smtp_enhanced,
    emails.c.smtp_text,
    emails.c.error,
    emails.c.group_id,
    emails.c.campaign,
    emails.c.reason_code,
    emails.c.resent_as,
    emails.c.captured_file,
    emails.c.is_own_task,
    emails.c.can_unsubscribe,
    emails.c.server,
    emails.c.tenant,
    emails.c.is_grouped,
    emails.c.is_in_full,
    emails.c.maybe_sent,
)
#: The fields of an `Email` that have the values of these columns; three of them are its `SmtpReply`.
_EMAIL_FIELDS = tuple("to" if column is emails.c.to_address else column.name for column in EMAIL_COLUMNS)
#: Built once, because building it takes longer than many queries.
SELECT_EMAILS: Select[Any] = select(*EMAIL_COLUMNS)


#: The columns of a `RowIdentity`.
IDENTITY_COLUMNS = (emails.c.id, emails.c.kind, emails.c.to_address, emails.c.expires_at)


def identity_from_row(row: Row[tuple[object, ...]]) -> RowIdentity:
    """Return what the content in a row of `IDENTITY_COLUMNS` must be bound to."""
    return RowIdentity(id=row.id, kind=row.kind, recipient=row.to_address, expires_at=row.expires_at)


def email_from_row(row: Row[Any]) -> Email:
    """Return the email in a row that begins with `EMAIL_COLUMNS`."""
    # By place: each name of a row is looked up, which takes longer than all the rest for 33 columns.
    values: dict[str, Any] = dict(zip(_EMAIL_FIELDS, row, strict=False))
    state = values["state"]
    values["state"] = _STATES.get(state) or State(state)
    values["reason_code"] = _reason_code(values["reason_code"])
    reply = SmtpReply(
        code=values.pop("smtp_code"),
        enhanced=values.pop("smtp_enhanced"),
        text=values.pop("smtp_text") or "",
    )
    return Email(**values, reply=reply)


def event_from_row(row: Row[tuple[object, ...]]) -> Event:
    """Return the event in a row of the events table."""
    return Event(
        at=row.at,
        state=_STATES.get(row.state) or State(row.state),
        attempt=row.attempt,
        worker=row.worker,
        code=row.code,
        text=row.text,
        actor=row.actor,
        reason_code=_reason_code(row.reason_code),
        stage=row.stage,
    )


def _reason_code(value: str | None) -> ReasonCode | None:
    return None if value is None else _REASON_CODES.get(value) or ReasonCode(value)
