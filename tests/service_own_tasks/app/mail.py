"""Sending with FastAPI-Mail: what goes wrong is logged, and the caller gets False."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fastapi_mail import ConnectionConfig, FastMail, MessageSchema, MessageType

from tests.service_own_tasks.app.config import settings

_log = logging.getLogger(__name__)
_TEMPLATES = Path(__file__).parent / "templates"


def _connection() -> ConnectionConfig:
    return ConnectionConfig(
        MAIL_USERNAME="",
        MAIL_PASSWORD="",
        MAIL_FROM=settings.EMAIL_FROM_ADDRESS,
        MAIL_SERVER=settings.EMAIL_HOST,
        MAIL_PORT=settings.EMAIL_PORT,
        MAIL_STARTTLS=False,
        MAIL_SSL_TLS=False,
        USE_CREDENTIALS=False,
        VALIDATE_CERTS=False,
        TEMPLATE_FOLDER=_TEMPLATES,
    )


async def send(subject: str, recipients: list[dict[str, str]], template_name: str, context: Any) -> bool:
    """Send an email; return whether that worked, as far as this service cares."""
    if not settings.EMAIL_ENABLED:
        _log.info("email is disabled; would send %r", subject)
        return True
    try:
        message = MessageSchema(
            subject=subject,
            recipients=[recipient["email"] for recipient in recipients],
            template_body={"project_name": settings.PROJECT_NAME, **context},
            subtype=MessageType.html,
        )
        await FastMail(_connection()).send_message(message, template_name=f"{template_name}.html")
    except Exception:
        _log.exception("the email %r was not sent", subject)
        return False
    return True
