"""Reads when a JSON Web Token (RFC 7519) of a service expires, without verifying the token."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Header, payload and signature of a signed token, in base64url (RFC 7515 section 3.1).
_JWT = re.compile(r"(?<![\w-])[\w-]+\.(?P<payload>[\w-]+)\.[\w-]*", re.ASCII)
#: The dot before a payload, and the start of a JSON object in base64url.
_PAYLOAD_START = ".ey"


def unverified_expiry(token: str) -> datetime | None:
    """Return the time at which a token expires; None if it is no JWT or does not say.

    Nobody verifies the signature: the result may only shorten the time for which something is used.
    """
    found = _JWT.fullmatch(token)
    return _expiry(found["payload"]) if found else None


def unverified_expiry_in_url(url: str) -> datetime | None:
    """Return the earliest time at which a token in a URL expires; None if no token in it says."""
    text = unquote(url) if "%" in url else url
    if _PAYLOAD_START not in text:  # the usual case, for which the search below is slow
        return None
    return _earliest(_expiry(found["payload"]) for found in _JWT.finditer(text))


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def _expiry(payload: str) -> datetime | None:
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry = claims["exp"]
        if isinstance(expiry, bool) or not isinstance(expiry, int | float):
            return None
        return datetime.fromtimestamp(expiry, tz=UTC)
    except (ValueError, LookupError, TypeError, OverflowError, OSError, RecursionError):
        return None
