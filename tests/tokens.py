"""JSON Web Tokens as a service makes them, without a library."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from datetime import datetime


def _encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def _unsigned(algorithm: str, claims: dict[str, Any]) -> str:
    header = {"alg": algorithm, "typ": "JWT"}
    return ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))


def hs256(claims: dict[str, Any], *, key: str = "key of the service", exp: datetime | None = None) -> str:
    """Return a token that is signed with a shared key; `exp` is added to the claims."""
    text = _unsigned("HS256", claims | ({"exp": int(exp.timestamp())} if exp else {}))
    return f"{text}.{_encoded(hmac.digest(key.encode(), text.encode(), hashlib.sha256))}"


def rs256(claims: dict[str, Any], *, bits: int = 4096, exp: datetime | None = None) -> str:
    """Return a token that is signed with an RSA key of so many bits."""
    text = _unsigned("RS256", claims | ({"exp": int(exp.timestamp())} if exp else {}))
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return f"{text}.{_encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
