"""Resend: one event a request, signed as Standard Webhooks define it (by Svix).

https://resend.com/docs/dashboard/webhooks/introduction
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_HEADER, ID_KEY
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_json, time_from_seconds
from mailctl.feedback.providers.verification import has_standard_signature
from mailctl.feedback.providers.webhook import (
    ParsedWebhook,
    RefusalReason,
    WebhookProvider,
    WebhookRefused,
    WebhookRequest,
    collect,
    require_fresh,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

#: Each retry has a signature of its own.
_WINDOW = timedelta(minutes=5)
_VERDICTS: Mapping[str, EventMeaning] = {
    "email.delivered": report.DELIVERED,
    "email.delivery_delayed": report.DELAYED,
    "email.complained": report.COMPLAINED,
    "email.failed": report.SOFT_BOUNCE,
    "email.suppressed": report.SOFT_BOUNCE,
}


class Resend(WebhookProvider):
    """The webhooks of Resend; their secret begins with `whsec_`."""

    name = "resend"
    max_body_bytes = 262_144

    @override
    def verify(self, request: WebhookRequest) -> None:
        message_id, timestamp = _header(request, "id"), _header(request, "timestamp")
        is_signed = has_standard_signature(
            _header(request, "signature"),
            self._secrets,
            message_id=message_id,
            timestamp=timestamp,
            body=request.body,
        )
        if not message_id or not is_signed:
            raise WebhookRefused(RefusalReason.FORGED)
        require_fresh(time_from_seconds(timestamp), request, window=_WINDOW)

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        event = Fields(load_json(request.body))
        return collect([self._read(event, source_id=event_id(_header(request, "id")))])

    def _read(self, event: Fields, *, source_id: str) -> Iterator[Feedback]:
        name, data = event.required("type"), event.object("data")
        bounce = data.object("bounce")
        is_bounce = name == "email.bounced"
        verdict = report.bounce_of_type(bounce.text("type")) if is_bounce else _VERDICTS.get(name)
        if verdict is None:
            return
        headers = {
            (header.text("name") or "").lower(): header.text("value") for header in data.objects("headers")
        }
        yield report.make_report(
            self.name,
            verdict,
            source_id=source_id,
            at=event.iso("created_at"),
            email_id=headers.get(ID_HEADER.lower()) or data.object("tags").text(ID_KEY),
            message_id=headers.get("message-id") or data.text("message_id"),
            recipient=next(iter(data.texts("to")), None),
            diagnostic=bounce.diagnostic("message") or data.object("failed").diagnostic("reason"),
        )


def _header(request: WebhookRequest, name: str) -> str:
    """Return a header of a signed message, under the name of Svix or of Standard Webhooks."""
    return request.headers.get(f"svix-{name}") or request.headers.get(f"webhook-{name}") or ""
