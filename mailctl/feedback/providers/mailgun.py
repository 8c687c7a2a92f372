"""Mailgun: one event a request, with an HMAC of a time and a token in its body.

The HMAC does not cover the event. The token is therefore the id of the event: with a token that was used
already, another event counts as a repetition.

https://documentation.mailgun.com/docs/mailgun/user-manual/events/webhooks
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_KEY
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_json, time_from_seconds
from mailctl.feedback.providers.verification import hmac_sha256_hex, is_same
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

#: How long Mailgun retries.
_RETRIES = timedelta(hours=8)
_VERDICTS: Mapping[str, EventMeaning] = {
    "delivered": report.DELIVERED,
    "complained": report.COMPLAINED,
    "unsubscribed": report.UNSUBSCRIBED,
    "rejected": report.SOFT_BOUNCE,
}
#: Why Mailgun does not try an address: it bounced before.
_BOUNCED_BEFORE = "suppress-bounce"
#: Why Mailgun does not try an address although that may exist.
_SUPPRESSED = frozenset({"suppress-complaint", "suppress-unsubscribe"})


class Mailgun(WebhookProvider):
    """The webhooks of Mailgun; their secret is the HTTP webhook signing key."""

    name = "mailgun"
    max_body_bytes = 262_144

    @override
    def verify(self, request: WebhookRequest) -> None:
        block = Fields(load_json(request.body)).object("signature")
        timestamp, token = block.text("timestamp") or "", block.text("token") or ""
        signature = block.text("signature") or ""
        expected = (hmac_sha256_hex(secret, timestamp + token) for secret in self._secrets)
        if not token or not any(is_same(signature, each) for each in expected):
            raise WebhookRefused(RefusalReason.FORGED)
        require_fresh(time_from_seconds(timestamp), request, window=_RETRIES)

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        body = Fields(load_json(request.body))
        token = body.object("signature").required("token")
        return collect([self._read(body.object("event-data"), token=token)])

    def _read(self, event: Fields, *, token: str) -> Iterator[Feedback]:
        if (verdict := _verdict(event)) is None:
            return
        status = event.object("delivery-status")
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(token),
            at=event.seconds("timestamp"),
            email_id=event.object("user-variables").text(ID_KEY),
            message_id=event.object("message").object("headers").text("message-id"),
            recipient=event.text("recipient"),
            diagnostic=status.diagnostic("message", "description")
            or event.object("reject").diagnostic("reason"),
            smtp_code=status.whole("code"),
            enhanced_code=status.text("enhanced-code"),
            remote_server=status.text("mx-host"),
        )


def _verdict(event: Fields) -> EventMeaning | None:
    name = event.required("event")
    if name != "failed":
        return _VERDICTS.get(name)
    if event.text("severity") == "temporary":
        return report.DELAYED
    # Mailgun calls everything permanent that it gives up; the code of the reply says what that was about.
    reason = event.text("reason")
    if reason == _BOUNCED_BEFORE:
        return report.HARD_BOUNCE
    return report.SOFT_BOUNCE if reason in _SUPPRESSED else report.BOUNCE
