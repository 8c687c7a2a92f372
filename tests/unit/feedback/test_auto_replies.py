"""Automatic replies are told from what people and mail servers write."""

from __future__ import annotations

import pytest

from mailctl.feedback.auto_replies import is_auto_reply
from tests.unit.feedback.mails import mail


@pytest.mark.parametrize(
    "headers",
    [
        "Auto-Submitted: auto-replied (vacation)",
        "AUTO-SUBMITTED: Auto-Replied",
        "X-Autoreply: yes",
        "Precedence: auto_reply",
        "Subject: Automatic reply: your order",
        "Subject: =?utf-8?q?R=C3=A9ponse_automatique?=",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
    ],
)
def test_an_automatic_reply_says_that_it_is_one(headers: str) -> None:
    """By its headers (RFC 3834), its subject, or its type (RFC 8098)."""
    assert is_auto_reply(mail(f"{headers}\n\ntext"))


@pytest.mark.parametrize(
    "headers",
    [
        "Subject: Undelivered Mail Returned to Sender",
        "Auto-Submitted: auto-generated",
        "Auto-Submitted: no",
        "Precedence: bulk",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
    ],
)
def test_other_mail_is_none(headers: str) -> None:
    """A bounce is generated, not a reply of the recipient's."""
    assert not is_auto_reply(mail(f"{headers}\n\ntext"))
