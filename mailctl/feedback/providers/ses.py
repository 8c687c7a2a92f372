"""Amazon SES: events that a topic of Amazon SNS passes on, one a request, signed by certificate.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from mailctl.domain.provider_headers import ID_HEADER
from mailctl.errors import NotFound, ServiceUnavailable
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_json
from mailctl.feedback.providers.sns_certificates import Certificates, fetch_https, is_sns_url
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

#: Amazon SNS retries for some six hours; a delivery policy of the topic may make that longer.
_RETRIES = timedelta(hours=24)
_NOTIFICATION = "Notification"
_CONFIRMATION = "SubscriptionConfirmation"
#: The members that are signed, in this order; those that are missing are left out.
_SIGNED: Mapping[str, tuple[str, ...]] = {
    _NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        (_CONFIRMATION, "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}


class AmazonSes(WebhookProvider):
    """The events of Amazon SES by Amazon SNS.

    Args:
        topics: the ARNs of the topics that feedback is expected from.
        certificates: fetches the certificates that the topics sign with.
        fetch: returns what an https URL leads to; confirms a subscription.
    """

    name = "ses"
    max_body_bytes = 524_288
    uses_network = True

    def __init__(
        self,
        topics: Sequence[str],
        *,
        certificates: Certificates | None = None,
        fetch: Callable[[str], bytes] = fetch_https,
    ) -> None:
        super().__init__(topics)
        self._certificates = certificates or Certificates()
        self._fetch = fetch

    @override
    def verify(self, request: WebhookRequest) -> None:
        message = load_json(request.body)
        fields = Fields(message)
        topic = fields.text("TopicArn") or ""
        # Everybody can have Amazon sign messages of a topic of their own.
        if topic not in self._secrets or not isinstance(message, dict):
            raise WebhookRefused(RefusalReason.FORGED)
        self._verify_signature(message, region=topic.split(":")[3])
        require_fresh(fields.iso("Timestamp"), request, window=_RETRIES)

    def _verify_signature(self, message: dict[str, object], *, region: str) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

        signed, algorithm = _signed_text(message), _algorithm(message.get("SignatureVersion"))
        certificate = self._certificates.find(str(message.get("SigningCertURL")), region=region)
        key = certificate.public_key()
        try:
            signature = base64.b64decode(str(message.get("Signature")), validate=True)
            if isinstance(key, RSAPublicKey):
                return key.verify(signature, signed, PKCS1v15(), algorithm)
        except (ValueError, InvalidSignature):
            pass
        raise WebhookRefused(RefusalReason.FORGED)

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        message = Fields(load_json(request.body))
        kind = message.text("Type")
        if kind == _CONFIRMATION:
            self._confirm(message)
        event = message.nested("Message")
        # Amazon also notifies that it has checked the topic.
        if kind != _NOTIFICATION or "mail" not in event:
            return ParsedWebhook()
        return collect([_read(event, source_id=message.required("MessageId"))])

    def _confirm(self, message: Fields) -> None:
        """Confirm the subscription to an expected topic, by the URL that Amazon has signed for that."""
        topic, url = message.required("TopicArn"), message.text("SubscribeURL", longest=4096) or ""
        query = parse_qs(urlsplit(url).query)
        is_confirmation = query.get("Action") == ["ConfirmSubscription"] and query.get("TopicArn") == [topic]
        if not is_confirmation or not is_sns_url(url, region=topic.split(":")[3]):
            raise WebhookRefused(RefusalReason.MALFORMED)
        try:
            self._fetch(url)
        except (NotFound, ServiceUnavailable):
            raise ServiceUnavailable(
                "The subscription to the topic of Amazon SNS could not be confirmed.",
                fix="Request the confirmation again in the console of Amazon SNS.",
            ) from None


def _signed_text(message: Mapping[str, object]) -> bytes:
    names = _SIGNED.get(str(message.get("Type")))
    if names is None:
        raise WebhookRefused(RefusalReason.MALFORMED)
    lines = (f"{name}\n{message[name]}\n" for name in names if isinstance(message.get(name), str))
    return "".join(lines).encode("utf-8", "replace")


def _algorithm(version: object) -> HashAlgorithm:
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256

    if version == "1":
        return SHA1()  # noqa: S303 - what Amazon signs with unless the topic has SignatureVersion 2
    if version == "2":
        return SHA256()
    raise WebhookRefused(RefusalReason.FORGED)


def _read(event: Fields, *, source_id: str) -> Iterator[Feedback]:
    name = event.text("eventType") or event.required("notificationType")
    mail = event.object("mail")
    ids = _ids(mail)
    for verdict, recipient, details in _recipients(name, event):
        if verdict is None or (name == "Bounce" and _is_auto_reply(recipient, details)):
            continue
        diagnostic = recipient.diagnostic("diagnosticCode") or details.diagnostic(
            "smtpResponse", "reason", "complaintFeedbackType"
        )
        address = recipient.text("emailAddress")
        yield report.make_report(
            AmazonSes.name,
            verdict,
            source_id=event_id(source_id, address),
            at=details.iso("timestamp") or mail.iso("timestamp"),
            email_id=ids.get(ID_HEADER.lower()),
            message_id=ids.get("message-id"),
            recipient=address,
            diagnostic=diagnostic,
            enhanced_code=recipient.text("status"),
            remote_server=details.text("remoteMtaIp"),
        )


def _ids(mail: Fields) -> dict[str, str | None]:
    """Return the headers of the email that tell which it is; Amazon SES has an id of its own for it."""
    headers = {(each.text("name") or "").lower(): each.text("value") for each in mail.objects("headers")}
    headers.setdefault("message-id", mail.object("commonHeaders").text("messageId"))
    return headers


def _is_auto_reply(recipient: Fields, bounce: Fields) -> bool:
    """Whether a bounce may be an automatic reply: Amazon SES reports those as bounces without a status.

    https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types
    """
    is_general = (bounce.text("bounceType"), bounce.text("bounceSubType")) == ("Transient", "General")
    return is_general and not any(name in recipient for name in ("action", "status", "diagnosticCode"))


def _recipients(name: str, event: Fields) -> Iterator[tuple[EventMeaning | None, Fields, Fields]]:
    """Yield what an event says of each recipient: what it means, and the fields about recipient and event.

    None stands for what is no feedback, such as that a recipient takes a complaint back.
    """
    verdict: EventMeaning | None
    match name:
        case "Bounce":
            details = event.object("bounce")
            verdict = report.bounce_of_type(details.text("bounceType"))
            recipients = details.objects("bouncedRecipients")
        case "Complaint":
            details = event.object("complaint")
            verdict = report.complaint_of_type(details.text("complaintFeedbackType"))
            recipients = details.objects("complainedRecipients")
        case "DeliveryDelay":
            verdict, details = report.DELAYED, event.object("deliveryDelay")
            recipients = details.objects("delayedRecipients")
        case "Delivery":
            verdict, details = report.DELIVERED, event.object("delivery")
            recipients = _as_recipients(details.texts("recipients"))
        case "Reject":
            verdict, details = report.SOFT_BOUNCE, event.object("reject")
            recipients = _as_recipients(event.object("mail").texts("destination"))
        case _:
            return
    if not recipients:
        raise WebhookRefused(RefusalReason.MALFORMED)
    for recipient in recipients:
        yield verdict, recipient, details


def _as_recipients(addresses: Sequence[str]) -> list[Fields]:
    return [Fields({"emailAddress": address}) for address in addresses]
