"""Reads the request for an email from the headers of its message."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mailctl.domain.request import EmailRequest
from mailctl.domain.senders import SENDER_HEADER, TENANT_HEADER, validate_tenant
from mailctl.errors import InvalidInput
from mailctl.worker.message_validation import EXPIRES_HEADER, NOT_BEFORE_HEADER

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind


def read_email_request(request: Any, kind: Kind) -> EmailRequest:
    """Return the request of a message.

    Args:
        request: the request of its Celery task; its times were validated by the consumer.
        kind: the kind of email of the task.
    """
    return EmailRequest(
        kind=kind,
        not_before=_time(request, NOT_BEFORE_HEADER),
        expires_at=_time(request, EXPIRES_HEADER),
        sender=_name(request, SENDER_HEADER),
        tenant=_name(request, TENANT_HEADER),
    )


def _time(request: Any, header: str) -> datetime | None:
    value = getattr(request, header, None)
    return None if value is None else datetime.fromisoformat(value)


def _name(request: Any, header: str) -> str | None:
    """Return the name in a header; None for anything else, which another program may have put there."""
    try:
        return validate_tenant(getattr(request, header, None))
    except InvalidInput:
        return None
