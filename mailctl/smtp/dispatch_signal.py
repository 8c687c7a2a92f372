"""FastAPI-Mail's signal `email_dispatched`, for what a service connects to it."""

from __future__ import annotations

import email
import email.policy
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope

_log = logging.getLogger("mailctl.delivery")


def signal_dispatched(envelope: Envelope) -> None:
    """Send `email_dispatched` with a message that a mail server accepted, as FastAPI-Mail does.

    Receivers get the message as an `email.message.EmailMessage`. Without receivers, this costs nothing. What
    a receiver raises is logged.
    """
    fastmail = sys.modules.get("fastapi_mail.fastmail")
    if fastmail is None or not fastmail.email_dispatched.receivers:
        return
    message = email.message_from_bytes(envelope.data.replace(b"\r\n", b"\n"), policy=email.policy.default)
    try:
        fastmail.email_dispatched.send(message)
    except Exception as error:
        # Its text may quote the message.
        _log.error("a receiver of email_dispatched raised %s: %s", type(error).__name__, envelope.message_id)
