"""Requests to the webhooks of providers, as each provider would sign them, with keys of the tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mailctl.feedback.providers.ses import AmazonSes
from mailctl.feedback.providers.sns_certificates import Certificates
from mailctl.feedback.providers.webhook import WebhookProvider, WebhookRequest
from mailctl.feedback.webhooks import PROVIDERS

FOLDER = Path(__file__).parent / "data" / "feedback" / "providers"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SHARED_SECRET = "a-secret-of-the-webhook-0123456789"
SIGNED = ("mailgun", "resend", "sendgrid", "ses")


@cache
def ecdsa_key() -> ec.EllipticCurvePrivateKey:
    """Return the key that signs as SendGrid."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return the key that signs as Amazon SNS."""
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate() -> bytes:
    """Return the certificate of `rsa_key` as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key().public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=3650))
    )
    return builder.sign(rsa_key(), SHA256()).public_bytes(Encoding.PEM)


def secret_of(provider: str) -> str:
    """Return the entry of a provider in MAILCTL_WEBHOOK_SECRETS."""
    if provider == "ses":
        return TOPIC
    if provider == "resend":
        return "whsec_" + base64.b64encode(b"a key of thirty-two octets or so").decode()
    if provider == "sendgrid":
        der = ecdsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()
    return SHARED_SECRET


@dataclass
class Network:
    """Stands for the hosts of Amazon SNS: what they have, and what was asked of them."""

    pages: dict[str, bytes] = field(default_factory=lambda: {CERTIFICATE_URL: certificate()})
    asked: list[str] = field(default_factory=list)

    def fetch(self, url: str) -> bytes:
        """Return a page; an empty one for other URLs."""
        self.asked.append(url)
        return self.pages.get(url, b"")


def make_provider(name: str, network: Network | None = None) -> WebhookProvider:
    """Return a provider with the keys of the tests."""
    if name != "ses":
        return PROVIDERS[name]([secret_of(name)])
    network = network or Network()
    return AmazonSes([TOPIC], certificates=Certificates(network.fetch), fetch=network.fetch)


def cases(provider: str) -> list[dict[str, Any]]:
    """Return the payloads of a provider, each with what it reports."""
    return json.loads((FOLDER / f"{provider}.json").read_text())


def make_request(provider: str, payload: Any, *, at: datetime = NOW, **given: str) -> WebhookRequest:
    """Return a request as the provider would sign it at a time.

    Args:
        payload: the event, or the list of events.
        given: `id`: the id of the request, for providers that give it one.
    """
    body, headers = _SIGNERS.get(provider, _with_secret)(payload, at, given.get("id", "id-1"))
    return WebhookRequest(headers=headers, body=body, is_encrypted=True, received_at=at)


def make_raw_request(provider: str, body: bytes) -> WebhookRequest:
    """Return a request of SendGrid or Resend with any body, signed."""
    sign = {"sendgrid": sign_as_sendgrid, "resend": sign_as_resend}[provider]
    return WebhookRequest(headers=sign(body, NOW, "id-1"), body=body, is_encrypted=True, received_at=NOW)


def _with_secret(payload: Any, at: datetime, id: str) -> tuple[bytes, dict[str, str]]:
    credentials = base64.b64encode(f"mailctl:{SHARED_SECRET}".encode()).decode()
    return json.dumps(payload).encode(), {"authorization": f"Basic {credentials}"}


def _mailgun(payload: Any, at: datetime, id: str) -> tuple[bytes, dict[str, str]]:
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(SHARED_SECRET.encode(), f"{timestamp}{id}".encode(), hashlib.sha256).hexdigest()
    block = {"timestamp": timestamp, "token": id, "signature": signature}
    return json.dumps({"signature": block, "event-data": payload}).encode(), {}


def _sendgrid(payload: Any, at: datetime, id: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(payload).encode()
    return body, sign_as_sendgrid(body, at, id)


def sign_as_sendgrid(body: bytes, at: datetime, id: str) -> dict[str, str]:
    """Return the headers with which SendGrid signs a body."""
    timestamp = str(int(at.timestamp()))
    signature = ecdsa_key().sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


def _resend(payload: Any, at: datetime, id: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(payload).encode()
    return body, sign_as_resend(body, at, id)


def sign_as_resend(body: bytes, at: datetime, id: str) -> dict[str, str]:
    """Return the headers with which Resend signs a body."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret_of("resend").removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "svix-id": id,
        "svix-timestamp": timestamp,
        "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _ses(payload: Any, at: datetime, id: str) -> tuple[bytes, dict[str, str]]:
    message: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": id,
        "TopicArn": TOPIC,
        "Message": json.dumps(payload),
        "Timestamp": at.isoformat().replace("+00:00", "Z"),
    }
    return sign_sns(message), {"content-type": "text/plain; charset=UTF-8"}


def sign_sns(message: dict[str, Any]) -> bytes:
    """Return a message of Amazon SNS with its signature (version 2)."""
    names = sorted(
        {"Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"}
    )
    signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    signature = rsa_key().sign(signed.encode(), PKCS1v15(), SHA256())
    proof = {"SignatureVersion": "2", "Signature": base64.b64encode(signature).decode()}
    return json.dumps(message | {"SigningCertURL": CERTIFICATE_URL} | proof).encode()


_SIGNERS = {"mailgun": _mailgun, "sendgrid": _sendgrid, "resend": _resend, "ses": _ses}
