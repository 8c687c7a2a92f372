"""Builds the report of a provider about one email."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.feedback.complaints import kind_of_feedback_type
from mailctl.feedback.models import Feedback, FeedbackKind, Proof
from mailctl.feedback.providers.payload import enhanced_code_in, message_id_from, reply_code_in

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMeaning:
    """The meaning of an event of a provider."""

    kind: FeedbackKind
    #: For a bounce: whether the provider calls it permanent; None if it does not tell.
    is_permanent: bool | None = None


DELIVERED = EventMeaning(kind=FeedbackKind.DELIVERED)
DELAYED = EventMeaning(kind=FeedbackKind.DELAYED)
COMPLAINED = EventMeaning(kind=FeedbackKind.COMPLAINED)
UNSUBSCRIBED = EventMeaning(kind=FeedbackKind.UNSUBSCRIBED)
HARD_BOUNCE = EventMeaning(kind=FeedbackKind.BOUNCED, is_permanent=True)
#: Given up, for a reason that says nothing about whether the address exists.
SOFT_BOUNCE = EventMeaning(kind=FeedbackKind.BOUNCED, is_permanent=False)
BOUNCE = EventMeaning(kind=FeedbackKind.BOUNCED)


def bounce_of_type(name: str | None) -> EventMeaning:
    """Return the verdict on a bounce by the type that Amazon SES gives it, and Resend, which sends by SES."""
    return {"Permanent": HARD_BOUNCE, "Transient": SOFT_BOUNCE}.get(name or "", BOUNCE)


def complaint_of_type(name: str | None) -> EventMeaning | None:
    """Return the verdict on a complaint by the type of feedback that a mailbox provider gives it.

    None stands for one that is no complaint, such as `not-spam`, by which a recipient takes one back.
    """
    kind = kind_of_feedback_type(name or "")
    return None if kind is None else EventMeaning(kind=kind)


def make_report(
    source: str,
    verdict: EventMeaning,
    *,
    source_id: str,
    at: datetime | None,
    email_id: str | None = None,
    message_id: str | None = None,
    recipient: str | None = None,
    diagnostic: str = "",
    smtp_code: int | None = None,
    enhanced_code: str | None = None,
    remote_server: str | None = None,
) -> Feedback:
    """Return the report of a verified event; codes that are not given are read from the diagnostic.

    Args:
        source: the name of the provider.
        verdict: what the event means.
        smtp_code: the reply code of the remote server, if the event has a field for it.
        enhanced_code: the enhanced status code, if the event has a field for it.

    The other arguments are those of `Feedback`; the Message-ID may have its brackets.
    """
    code = smtp_code if smtp_code and 200 <= smtp_code <= 599 else reply_code_in(diagnostic)
    enhanced = enhanced_code_in(enhanced_code or "") or enhanced_code_in(diagnostic)
    return Feedback(
        source=source,
        source_id=source_id,
        kind=verdict.kind,
        proof=Proof.VERIFIED,
        at=at,
        email_id=email_id,
        message_id=message_id_from(message_id),
        recipient=recipient,
        smtp_code=code,
        enhanced_code=enhanced,
        diagnostic=diagnostic,
        remote_server=remote_server,
        is_permanent=verdict.is_permanent,
    )
