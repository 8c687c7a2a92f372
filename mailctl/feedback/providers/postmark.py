"""Postmark: one event a request, not signed.

https://postmarkapp.com/developer/webhooks/bounce-webhook
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_KEY
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_json
from mailctl.feedback.providers.webhook import ParsedWebhook, UnsignedProvider, WebhookRequest, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

#: By the type of a bounce; the others are no bounces, such as automatic replies.
_BOUNCES: Mapping[str, EventMeaning] = {
    "HardBounce": report.HARD_BOUNCE,
    "BadEmailAddress": report.HARD_BOUNCE,
    "SoftBounce": report.SOFT_BOUNCE,
    "DnsError": report.SOFT_BOUNCE,
    "Blocked": report.SOFT_BOUNCE,
    "SpamNotification": report.SOFT_BOUNCE,
    "VirusNotification": report.SOFT_BOUNCE,
    "DMARCPolicy": report.SOFT_BOUNCE,
    "ManuallyDeactivated": report.SOFT_BOUNCE,
    "SMTPApiError": report.SOFT_BOUNCE,
    "Transient": report.DELAYED,
    "SpamComplaint": report.COMPLAINED,
    "Unsubscribe": report.UNSUBSCRIBED,
}
_TIMES = ("BouncedAt", "DeliveredAt", "ChangedAt")


class Postmark(UnsignedProvider):
    """The webhooks of Postmark: Bounce, Delivery, SpamComplaint and SubscriptionChange."""

    name = "postmark"

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return collect([self._read(Fields(load_json(request.body)))])

    def _read(self, event: Fields) -> Iterator[Feedback]:
        record_type = event.required("RecordType")
        if (verdict := _verdict(record_type, event)) is None:
            return
        message = event.required("MessageID")
        recipient = event.text("Email") or event.text("Recipient")
        own_id = event.text("ID")
        at = next((event.text(name) for name in _TIMES if name in event), None)
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(*([own_id] if own_id else [record_type, message, recipient, at])),
            at=next((event.iso(name) for name in _TIMES if name in event), None),
            email_id=event.object("Metadata").text(ID_KEY),
            recipient=recipient,
            diagnostic=event.diagnostic("Details", "Description"),
        )


def _verdict(record_type: str, event: Fields) -> EventMeaning | None:
    if record_type in ("Bounce", "SpamComplaint"):
        return _BOUNCES.get(event.text("Type") or record_type)
    if record_type == "Delivery":
        return report.DELIVERED
    is_by_recipient = event.flag("SuppressSending") is True and event.text("Origin") == "Recipient"
    if record_type == "SubscriptionChange" and is_by_recipient:
        is_unsubscribed = event.text("SuppressionReason") == "ManualSuppression"
        return report.UNSUBSCRIBED if is_unsubscribed else None
    return None
