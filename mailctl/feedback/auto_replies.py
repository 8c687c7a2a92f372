"""Automatic replies, such as out-of-office messages: they say nothing about delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.feedback import wording

if TYPE_CHECKING:
    from mailctl.feedback.received_mail import ReceivedMail

_PRECEDENCES = frozenset({"auto_reply", "auto-reply"})


def is_auto_reply(mail: ReceivedMail) -> bool:
    """Whether a message without a report is an automatic reply (RFC 3834), by its headers or its subject."""
    submitted = mail.header("Auto-Submitted").lower()
    if submitted.startswith("auto-replied"):
        return True
    if any(mail.header(name) for name in wording.auto_reply_headers()):
        return True
    if mail.header("Precedence").lower() in _PRECEDENCES:
        return True
    return wording.says("auto_reply", "subjects", mail.header("Subject"))
