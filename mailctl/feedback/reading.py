"""Reads messages that came in by mail: feedback about emails of ours, or the reason why there is none."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback.auto_replies import is_auto_reply
from mailctl.feedback.complaints import read_complaint
from mailctl.feedback.dsn import read_status
from mailctl.feedback.models import Feedback, FeedbackKind, Proof
from mailctl.feedback.nonstandard_bounces import is_bounce, read_text
from mailctl.feedback.received_mail import MAX_OCTETS, ReceivedMail, UnreadableMail

if TYPE_CHECKING:
    from mailctl.feedback.verdicts import Verdict
    from mailctl.security.bounce_address import BounceAddress

DSN_SOURCE, ARF_SOURCE = "dsn", "arf"
_MESSAGE_ID = re.compile(r"^(?:original-)?message-id:\s*<([^<>\s]{3,250})>", re.IGNORECASE | re.MULTILINE)
#: A message with a token and no proof is one about several emails; only the first recipients count.
_MAX_UNPROVEN = 5


@dataclass(frozen=True, kw_only=True)
class MailReading:
    """The feedback in one message.

    Args:
        source: the kind of message: `dsn` or `arf`.
        items: what it reports; empty if it reports nothing.
        rejected: why it reports nothing; None if it reports something.
    """

    source: str
    items: tuple[Feedback, ...] = ()
    rejected: FeedbackResult | None = None


def read_mail(data: bytes, *, bounces: BounceAddress | None, recipient: str = "") -> MailReading:
    """Return what a message says about emails of ours.

    A signed token proves which email it is about: in the address that the message was sent to, in the
    envelope id of the report, or in the envelope sender of the returned message. Without one, the Message-ID
    of the returned message makes it likely.

    Args:
        data: the message (RFC 5322), as it came from strangers.
        bounces: verifies tokens; None if there are none, because MAILCTL_BOUNCE_ADDRESS is not set.
        recipient: the envelope recipient of the message; "" if that is not known.
    """
    if len(data) > MAX_OCTETS:
        return MailReading(source=DSN_SOURCE, rejected=FeedbackResult.OVERSIZED)
    try:
        mail = ReceivedMail(data)
        source, verdicts = _verdicts(mail)
    except (UnreadableMail, RecursionError, ValueError, LookupError, TypeError):
        return MailReading(source=DSN_SOURCE, rejected=FeedbackResult.MALFORMED)
    if not verdicts:
        return MailReading(source=source, rejected=FeedbackResult.IGNORED)
    places = f"{recipient}\n{mail.raw}"
    email_id = bounces.find(places) if bounces else None
    if email_id is None and bounces and bounces.has_forged_token(places):
        return MailReading(source=source, rejected=FeedbackResult.FORGED)
    return MailReading(source=source, items=_items(mail, source, verdicts, email_id))


def _verdicts(mail: ReceivedMail) -> tuple[str, list[Verdict]]:
    """Return what a message says, and the source as which it counts."""
    if (group := mail.feedback_group) is not None:
        complaint = read_complaint(mail, group)
        return ARF_SOURCE, [complaint] if complaint else []
    if mail.status_groups:
        return DSN_SOURCE, read_status(mail)
    # A program that replies by itself quotes the subject, and so may a person who forwards a bounce.
    if is_auto_reply(mail) or not is_bounce(mail):
        return DSN_SOURCE, []
    return DSN_SOURCE, [read_text(mail)]


def _items(
    mail: ReceivedMail, source: str, verdicts: list[Verdict], email_id: str | None
) -> tuple[Feedback, ...]:
    message_id = None if email_id else _returned_message_id(mail)
    # An email of ours has one recipient: of what a proven report says, what is worst counts.
    chosen = [_worst(verdicts)] if email_id else verdicts[:_MAX_UNPROVEN]
    key = _key(mail, email_id)
    return tuple(
        Feedback(
            source=source,
            source_id=f"{key}/{place}",
            kind=verdict.kind,
            proof=Proof.VERIFIED if email_id else Proof.LIKELY,
            at=verdict.at,
            email_id=email_id,
            message_id=message_id,
            recipient=verdict.recipient,
            smtp_code=verdict.smtp_code,
            enhanced_code=verdict.enhanced_code,
            diagnostic=verdict.diagnostic,
            remote_server=verdict.remote_server,
            is_permanent=verdict.is_permanent,
        )
        for place, verdict in enumerate(chosen)
    )


def _worst(verdicts: list[Verdict]) -> Verdict:
    order = list(FeedbackKind)
    severity = (FeedbackKind.DELAYED, FeedbackKind.RELAYED, FeedbackKind.DELIVERED, FeedbackKind.BOUNCED)
    return max(
        verdicts,
        key=lambda each: severity.index(each.kind) if each.kind in severity else len(order),
    )


def _returned_message_id(mail: ReceivedMail) -> str | None:
    """Return the Message-ID of the message that is returned, without brackets."""
    if mail.returned is not None and (
        found := re.search(r"<([^<>\s]{3,250})>", mail.returned.raw("message-id"))
    ):
        return found[1]
    # The first one is that of the report itself.
    own = mail.header("Message-ID").strip("<> ")
    every = [found[1] for found in _MESSAGE_ID.finditer(mail.raw)]
    return next((each for each in every if each != own), None)


def _key(mail: ReceivedMail, email_id: str | None) -> str:
    """Return what identifies a report, however often it comes, and through whichever mailbox."""
    own = mail.header("Message-ID")
    # Headers of transport differ between two copies; the rest of the message does not.
    content = own or mail.raw.partition("\n\n")[2] or mail.raw
    return hashlib.sha256(f"{email_id}\0{content}".encode("utf-8", "replace")).hexdigest()
