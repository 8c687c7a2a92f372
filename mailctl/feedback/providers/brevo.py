"""Brevo: one event a request, or a list of them, not signed.

https://developers.brevo.com/docs/transactional-webhooks
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_KEY
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_list
from mailctl.feedback.providers.webhook import ParsedWebhook, UnsignedProvider, WebhookRequest, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

_VERDICTS: Mapping[str, EventMeaning] = {
    "delivered": report.DELIVERED,
    "deferred": report.DELAYED,
    "hard_bounce": report.HARD_BOUNCE,
    "invalid_email": report.HARD_BOUNCE,
    "soft_bounce": report.SOFT_BOUNCE,
    "blocked": report.SOFT_BOUNCE,
    "error": report.SOFT_BOUNCE,
    "spam": report.COMPLAINED,
    "complaint": report.COMPLAINED,
    "unsubscribe": report.UNSUBSCRIBED,
    "unsubscribed": report.UNSUBSCRIBED,
}


class Brevo(UnsignedProvider):
    """The transactional webhooks of Brevo."""

    name = "brevo"

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return collect(self._read(event) for event in load_list(request.body))

    def _read(self, value: object) -> Iterator[Feedback]:
        event = Fields(value)
        name = event.required("event")
        if (verdict := _VERDICTS.get(name)) is None:
            return
        message, recipient = event.required("message-id"), event.text("email")
        time = event.text("ts_epoch") or event.text("ts_event")
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(name, message, recipient, time),
            at=_time(event),
            email_id=event.nested("X-Mailin-custom").text(ID_KEY),
            message_id=message,
            recipient=recipient,
            diagnostic=event.diagnostic("reason"),
        )


def _time(event: Fields) -> datetime | None:
    """Return the time of an event: its other times are in the time zone of the account."""
    milliseconds = event.whole("ts_epoch")
    if milliseconds is None or milliseconds > 10**14:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
