"""SendGrid: a list of events a request, signed by ECDSA.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_KEY
from mailctl.errors import ConfigurationError
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_list, time_from_seconds
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

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

#: How long SendGrid retries.
_RETRIES = timedelta(hours=24)
_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_VERDICTS: Mapping[str, EventMeaning] = {
    "delivered": report.DELIVERED,
    "deferred": report.DELAYED,
    "spamreport": report.COMPLAINED,
    "unsubscribe": report.UNSUBSCRIBED,
    "group_unsubscribe": report.UNSUBSCRIBED,
}
#: Why SendGrid drops an email to an address that does not exist, in lower case.
_DROPPED_FOR_ADDRESS = ("bounced address", "invalid")


class SendGrid(WebhookProvider):
    """The event webhook of SendGrid; its secret is the verification key that SendGrid shows."""

    name = "sendgrid"

    @override
    def verify(self, request: WebhookRequest) -> None:
        timestamp = request.headers.get(_TIMESTAMP, "")
        signed = timestamp.encode("utf-8", "replace") + request.body
        if not self._is_signed(request.headers.get(_SIGNATURE, ""), signed):
            raise WebhookRefused(RefusalReason.FORGED)
        require_fresh(time_from_seconds(timestamp), request, window=_RETRIES)

    @cached_property
    def _keys(self) -> list[EllipticCurvePublicKey]:
        return [_public_key(secret) for secret in self._secrets]

    def _is_signed(self, signature: str, signed: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            raw = base64.b64decode(signature, validate=True)
        except ValueError:
            return False
        for key in self._keys:
            try:
                key.verify(raw, signed, ECDSA(SHA256()))
            except InvalidSignature:
                continue
            return True
        return False

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return collect(self._read(event) for event in load_list(request.body))

    def _read(self, value: object) -> Iterator[Feedback]:
        event = Fields(value)
        if (verdict := _verdict(event)) is None:
            return
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(event.required("sg_event_id")),
            at=event.seconds("timestamp"),
            email_id=event.text(ID_KEY),
            message_id=event.text("smtp-id"),
            recipient=event.text("email"),
            diagnostic=event.diagnostic("response", "reason"),
            enhanced_code=event.text("status"),
        )


def _verdict(event: Fields) -> EventMeaning | None:
    match event.required("event"):
        case "bounce":
            return report.HARD_BOUNCE if event.text("type") == "bounce" else report.SOFT_BOUNCE
        case "dropped":
            reason = (event.text("reason") or "").lower()
            return report.HARD_BOUNCE if reason in _DROPPED_FOR_ADDRESS else report.SOFT_BOUNCE
        case name:
            return _VERDICTS.get(name)


def _public_key(secret: str) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(secret, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigurationError(
            "MAILCTL_WEBHOOK_SECRETS has a value for sendgrid that is not a verification key.",
            fix="Copy the key that SendGrid shows at Mail Settings, Event Webhook, Security features.",
        )
    return key
