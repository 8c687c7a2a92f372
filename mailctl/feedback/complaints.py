"""Complaints of recipients in the Abuse Reporting Format (RFC 5965)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.feedback.dsn import find_address, parse_date
from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.verdicts import Verdict

if TYPE_CHECKING:
    from mailctl.feedback.received_mail import FieldGroup, ReceivedMail

#: Types of feedback by which a recipient says that an email is unwanted (RFC 5965 section 7.3).
_COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "complaint"})
_UNSUBSCRIBES = frozenset({"opt-out", "opt-out-list", "unsubscribe"})


def read_complaint(mail: ReceivedMail, group: FieldGroup) -> Verdict | None:
    """Return what an abuse report says; None if it is of a type that is no complaint, such as `not-spam`.

    Args:
        mail: the report.
        group: the fields of its part of type message/feedback-report.
    """
    kind = kind_of_feedback_type(group.raw("feedback-type"))
    if kind is None:
        return None
    return Verdict(
        kind=kind,
        recipient=_recipient(mail, group),
        diagnostic=group.raw("user-agent"),
        remote_server=None,
        at=parse_date(group.raw("arrival-date") or group.raw("received-date")),
    )


def kind_of_feedback_type(name: str) -> FeedbackKind | None:
    """Return what a type of feedback says (RFC 5965 section 7.3); None if it is no complaint.

    Args:
        name: the type, in upper or lower case; "" counts as a complaint.
    """
    name = name.lower()
    if name in _UNSUBSCRIBES:
        return FeedbackKind.UNSUBSCRIBED
    return FeedbackKind.COMPLAINED if name in _COMPLAINTS or not name else None


def _recipient(mail: ReceivedMail, group: FieldGroup) -> str | None:
    """Return the recipient; providers that redact it leave it out, or replace its local part."""
    returned = mail.returned.raw("to") if mail.returned else ""
    for value in (group.raw("original-rcpt-to"), group.raw("removal-recipient"), returned):
        if (found := find_address(value)) and "redacted" not in found.lower():
            return found
    return None
