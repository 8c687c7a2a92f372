"""The JSON objects that commands print: stable keys, times in UTC as ISO 8601."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.timefmt import format_iso

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.checks import Finding
    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.suppressions import Suppression
    from mailctl.diagnosis.status import EmailStatus
    from mailctl.domain.models import Email, Envelope, Event, User
    from mailctl.operations.bulk_actions import ActionResult
    from mailctl.operations.message_viewer import MessageDetails


def email_view(email: Email) -> dict[str, Any]:
    """Return what `send` says of an email."""
    return {
        "task_id": email.id,
        "kind": email.kind,
        "user_id": email.user_id,
        "to": email.to,
        "state": email.state,
        "queue": email.queue,
        "campaign": email.campaign,
    }


def status_view(status: EmailStatus) -> dict[str, Any]:
    """Return what `status` says of an email; what is not known is null."""
    email = status.email
    fields = dict.fromkeys(_STATUS_KEYS) if email is None else _email_fields(email)
    return {
        **fields,
        "task_id": status.task_id,
        "state": status.state,
        "celery_state": status.celery.state if status.celery else None,
        "error": (email.error if email else None) or (status.celery.text if status.celery else None) or None,
        "explanation": status.explanation,
        "events": [event_view(event) for event in status.events],
        "group": [other.id for other in status.group],
    }


def unknown_id_view(given: str, reason: str) -> dict[str, Any]:
    """Return what `status` says of an id among several that leads to no email."""
    nothing: dict[str, Any] = dict.fromkeys(_STATUS_KEYS)
    return {
        **nothing,
        "task_id": given,
        "celery_state": None,
        "error": reason,
        "explanation": reason,
        "events": [],
        "group": [],
    }


def listed_view(email: Email) -> dict[str, Any]:
    """Return what `list` says of an email."""
    return {**_email_fields(email), "error": email.error}


def result_view(action: str, result: ActionResult) -> dict[str, Any]:
    """Return what became of an email that something was done to."""
    return {
        "task_id": result.id,
        "action": action,
        "outcome": result.outcome,
        "reason": result.explanation or None,
        "hazards": list(result.hazards),
        "state": result.email.state if result.email else None,
        "new_task_id": result.new_id,
    }


def message_view(exhibit: MessageDetails) -> dict[str, Any]:
    """Return what an email says; text and html are null where the content is forgotten."""
    return {
        "task_id": exhibit.email.id,
        "state": exhibit.email.state,
        "source": exhibit.source,
        "note": exhibit.note,
        "headers": [{"name": name, "value": value} for name, value in exhibit.headers],
        "text": exhibit.text,
        "html": exhibit.html_as_text,
    }


def pause_view(pause: Pause) -> dict[str, Any]:
    """Return a queue or kind that is stopped."""
    return {
        "scope": pause.scope,
        "name": pause.name,
        "reason": pause.reason or None,
        "actor": pause.actor,
        "since": time_view(pause.since),
    }


def event_view(event: Event) -> dict[str, Any]:
    """Return one step of an email's life."""
    return {
        "at": time_view(event.at),
        "state": event.state,
        "attempt": event.attempt,
        "worker": event.worker,
        "code": event.code,
        "text": event.text,
        "actor": event.actor,
        "reason_code": event.reason_code,
        "stage": event.stage,
    }


def envelope_view(envelope: Envelope) -> dict[str, Any]:
    """Return what would go out."""
    return {
        "to": envelope.recipient,
        "from": envelope.sender,
        "subject": envelope.subject,
        "message_id": envelope.message_id,
        "size": len(envelope.data),
        "text": envelope.text,
    }


def suppression_view(entry: Suppression) -> dict[str, Any]:
    """Return a suppressed address."""
    return {
        "address": entry.address,
        "reason": entry.reason,
        "source": entry.source,
        "code": entry.code,
        "enhanced": entry.enhanced,
        "actor": entry.actor,
        "created_at": time_view(entry.created_at),
    }


def user_view(user: User) -> dict[str, Any]:
    """Return a user."""
    return {"id": user.id, "email": user.email, "username": user.username, "first_name": user.first_name}


def finding_view(finding: Finding) -> dict[str, Any]:
    """Return one result of `check-config`."""
    return {
        "group": finding.group,
        "name": finding.name,
        "status": finding.status,
        "detail": finding.detail,
        "fix": finding.fix,
    }


def time_view(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    return None if moment is None else format_iso(moment)


def _email_fields(email: Email) -> dict[str, Any]:
    reply = email.reply
    return {
        **email_view(email),
        "attempts": email.attempts,
        "created_at": time_view(email.created_at),
        "updated_at": time_view(email.updated_at),
        "sent_at": time_view(email.sent_at),
        "next_attempt_at": time_view(email.next_attempt_at),
        "expires_at": time_view(email.expires_at),
        "worker": email.worker,
        "message_id": email.message_id,
        "smtp": {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text or None},
        "reason_code": email.reason_code,
        "captured_file": email.captured_file,
    }


_STATUS_KEYS = (
    "task_id",
    "kind",
    "user_id",
    "to",
    "state",
    "queue",
    "attempts",
    "created_at",
    "updated_at",
    "sent_at",
    "next_attempt_at",
    "expires_at",
    "worker",
    "message_id",
    "smtp",
    "reason_code",
    "captured_file",
)
