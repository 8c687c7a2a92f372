"""What an abuse report says (RFC 5965)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailctl.feedback.complaints import kind_of_feedback_type, read_complaint
from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.received_mail import FieldGroup
from tests.unit.feedback.mails import mail


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("abuse", FeedbackKind.COMPLAINED),
        ("FRAUD", FeedbackKind.COMPLAINED),
        ("", FeedbackKind.COMPLAINED),
        ("opt-out", FeedbackKind.UNSUBSCRIBED),
        ("not-spam", None),
        ("auth-failure", None),
    ],
)
def test_the_type_says_whether_it_is_a_complaint(name: str, kind: FeedbackKind | None) -> None:
    """One who says that an email is not spam has not complained."""
    assert kind_of_feedback_type(name) is kind
    found = read_complaint(mail("\n"), FieldGroup({"feedback-type": name}))
    assert (found.kind if found else None) is kind


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"original-rcpt-to": "<zoe@example.com>"}, "zoe@example.com"),
        ({"original-rcpt-to": "redacted@example.com", "removal-recipient": "b@example.com"}, "b@example.com"),
        ({"original-rcpt-to": "zoe-REDACTED@example.com"}, "to@example.com"),
        ({}, "to@example.com"),
    ],
)
def test_a_redacted_recipient_is_none(fields: dict[str, str], expected: str) -> None:
    """Providers replace its local part; the returned message may still have it."""
    returned = mail("Content-Type: message/rfc822\n\nTo: to@example.com\n\nhi")
    found = read_complaint(returned, FieldGroup({"feedback-type": "abuse"} | fields))
    assert found is not None
    assert found.recipient == expected


def test_the_time_is_when_the_email_arrived() -> None:
    """By either name."""
    for name in ("arrival-date", "received-date"):
        group = FieldGroup({"feedback-type": "abuse", name: "Tue, 3 Mar 2026 10:02:14 +0000"})
        found = read_complaint(mail("\n"), group)
        assert found is not None
        assert found.at == datetime(2026, 3, 3, 10, 2, 14, tzinfo=UTC)
