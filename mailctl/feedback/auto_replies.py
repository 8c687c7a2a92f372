"""Automatic replies, such as out-of-office messages and read receipts: they say nothing about delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.feedback import wording

if TYPE_CHECKING:
    from mailctl.feedback.received_mail import ReceivedMail

#: The type of reports about what the recipient's program did with a message (RFC 8098).
_RECEIPT = "disposition-notification"
_PRECEDENCES = frozenset({"auto_reply", "auto-reply"})


def is_auto_reply(mail: ReceivedMail) -> bool:
    """Whether a message without a report is an automatic reply, by its type, its headers or its subject.

    RFC 3834 describes automatic replies, RFC 8098 receipts, which say what a recipient did with the message.
    """
    if mail.report_type == _RECEIPT:
        return True
    submitted = mail.header("Auto-Submitted").lower()
    if submitted.startswith("auto-replied"):
        return True
    if any(mail.header(name) for name in wording.auto_reply_headers()):
        return True
    if mail.header("Precedence").lower() in _PRECEDENCES:
        return True
    return wording.says("auto_reply", "subjects", mail.header("Subject"))
