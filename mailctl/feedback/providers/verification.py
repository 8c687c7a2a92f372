"""Proofs of who sends a request: shared secrets and keyed hashes, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The header for a secret, for providers that can send one of their own.
SECRET_HEADER = "x-mailctl-secret"  # noqa: S105 - a name
#: The prefix of a secret of Standard Webhooks.
_STANDARD_PREFIX = "whsec_"


def has_shared_secret(headers: Mapping[str, str], secrets: Iterable[str]) -> bool:
    """Whether a request carries one of the secrets.

    It may be the password of Basic authentication (RFC 7617), a bearer token (RFC 6750), or the value of
    `X-Mailctl-Secret`.

    Args:
        headers: the headers, by name in lower case.
        secrets: the valid secrets, ASCII.
    """
    given = [headers.get(SECRET_HEADER, ""), *_authorization(headers.get("authorization", ""))]
    return any(is_same(text, secret) for text in given if text for secret in secrets)


def _authorization(value: str) -> list[str]:
    scheme, _, credentials = value.partition(" ")
    if scheme.lower() == "bearer":
        return [credentials.strip()]
    if scheme.lower() != "basic":
        return []
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return []
    return [decoded.partition(":")[2]]


def is_same(given: str, expected: str) -> bool:
    """Whether two texts are equal; the time does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def hmac_sha256_hex(key: str, message: str) -> str:
    """Return the keyed hash of a message as hexadecimal text (RFC 2104)."""
    return hmac.new(key.encode(), message.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def standard_signature(secret: str, *, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message as Standard Webhooks and Svix define it, version 1.

    Args:
        secret: `whsec_` and the key in base64; other texts are the key themselves.
        message_id: the id of the message.
        timestamp: seconds since 1970, as text.
        body: the exact octets of the body.
    """
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "replace") + body
    digest = hmac.new(_standard_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def has_standard_signature(
    signatures: str, secrets: Sequence[str], *, message_id: str, timestamp: str, body: bytes
) -> bool:
    """Whether one of the signatures of a header is valid; the header separates several by spaces."""
    expected = [
        standard_signature(secret, message_id=message_id, timestamp=timestamp, body=body)
        for secret in secrets
    ]
    return any(is_same(given, right) for given in signatures.split(" ")[:10] for right in expected)


def _standard_key(secret: str) -> bytes:
    if not secret.startswith(_STANDARD_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()
