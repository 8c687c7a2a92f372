"""JSON Web Tokens (HS256), as the endpoints of the service make and read them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from tests.service_own_tasks.app.config import settings

_HEADER = {"alg": "HS256", "typ": "JWT"}


class InvalidToken(Exception):
    """The token is not one of this service, is for something else, or has expired."""


def make(purpose: str, *, subject: int, seconds: int, **claims: Any) -> str:
    """Return a token for one purpose that expires after some seconds."""
    payload = {"sub": str(subject), "type": purpose, "exp": int(time.time()) + seconds, **claims}
    signed = b".".join(_encode(json.dumps(part).encode()) for part in (_HEADER, payload))
    return b".".join((signed, _encode(_sign(signed)))).decode()


def read(token: str, *, purpose: str) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        InvalidToken: it cannot be used for this purpose.
    """
    try:
        signed, _, signature = token.encode().rpartition(b".")
        if not hmac.compare_digest(_decode(signature), _sign(signed)):
            raise InvalidToken("signature")
        claims: dict[str, Any] = json.loads(_decode(signed.partition(b".")[2]))
    except (ValueError, UnicodeError) as error:
        raise InvalidToken("format") from error
    if claims["type"] != purpose or claims["exp"] < time.time():
        raise InvalidToken("purpose or expiry")
    return claims


def _sign(data: bytes) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), data, hashlib.sha256)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(data: bytes) -> bytes:
    return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
