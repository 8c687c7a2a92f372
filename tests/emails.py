"""Emails to judge and explain, and what every message looks like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mailctl.domain.models import Email
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.states import State

#: When the tests of pure decisions take place.
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: The header fields of every message, in order, and no other.
HEADERS = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "MIME-Version",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Content-Language",
    "X-Entity-Ref-ID",
    "Content-Type",
]
_NOTHING_YET = ("not_before", "queued_at", "sent_at", "lease_until", "worker", "message_id")
_NONE = ("error", "group_id", "campaign")


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def email(state: State = State.PENDING, **more: Any) -> Email:
    """Return a welcome to Zoe in a state, recorded just now and good for an hour."""
    fields: dict[str, Any] = dict.fromkeys((*_NOTHING_YET, *_NONE))
    fields |= {"id": "e1", "kind": "welcome", "queue": "celery", "to": "zoe@example.com", "user_id": "7"}
    fields |= {"attempts": 0, "created_at": NOW, "updated_at": NOW, "due_at": NOW}
    fields |= {"expires_at": NOW + timedelta(hours=1), "reply": SmtpReply()}
    return Email(**{**fields, "state": state, **more})
