"""Validates links and compares origins of URLs."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from mailctl.domain import unicode_safety
from mailctl.errors import InvalidInput, LinkNotAllowed

#: The longest URL in characters: room for the longest token, each character of it percent-encoded.
MAX_URL = 8000
#: The schemes of links in a service's own template; mail clients show others as text.
_LINK_SCHEMES = frozenset({"https", "http", "mailto", "tel", "sms"})
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+-]*):")


def validate_action_url(value: object, *, origins: frozenset[str], field: str = "url") -> str:
    """Return a link that leads to one of the service's origins.

    Args:
        value: the URL.
        origins: the allowed origins (scheme://host[:port]).
        field: the name of the value for error messages.

    Raises:
        InvalidInput: it leads to another origin, or parsers could disagree about its origin.
    """
    if not isinstance(value, str) or len(value) > MAX_URL:
        raise InvalidInput(field, f"is not a link: it must be a URL of at most {MAX_URL} characters.")
    if not value.isascii() or any(ord(char) < 33 for char in value):
        raise InvalidInput(
            field, "is not a link: it contains a space, a control character or a non-ASCII character."
        )
    if set('\\"<>\x7f') & set(value):
        raise InvalidInput(
            field, "is not a usable link: it must not contain backslashes, quotes or angle brackets."
        )
    try:
        parts = urlsplit(value)
        has_dot_segments = {"..", "."} & set(re.sub("(?i)%2e", ".", parts.path).split("/"))
        origin = url_origin(value)
    except ValueError:
        raise InvalidInput(field, "is not a link: its host or port is invalid.") from None
    if parts.username is not None or parts.password is not None or has_dot_segments:
        raise InvalidInput(field, "is not a usable link: it must not contain a user name or dot segments.")
    if origin not in origins and origin.startswith("http:"):
        raise LinkNotAllowed(field, "is an http link: use https, or in development http to localhost.")
    if origin not in origins:
        raise LinkNotAllowed(
            field,
            f"leads to {origin}, which is not one of {', '.join(sorted(origins))}.",
            fix="Correct FRONTEND_URL, or add the origin to MAILCTL_LINK_ORIGINS.",
        )
    return value


def validate_link(value: str, *, field: str) -> str:
    """Return a link for a service's own template, to any origin.

    Raises:
        InvalidInput: it contains a line break or a control character, or its scheme is not one of links.
    """
    if unicode_safety.has_controls(value):
        raise InvalidInput(field, "is not a link: it contains a line break or a control character.")
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() not in _LINK_SCHEMES:
        raise InvalidInput(
            field,
            "is not a link that an email can open.",
            fix=f"Give a link that starts with one of: {', '.join(sorted(_LINK_SCHEMES))}.",
        )
    return value


def url_origin(url: str) -> str:
    """Return the origin of a URL (RFC 6454): scheme://host[:port] in lower case, without a default port.

    Raises:
        ValueError: the URL is too long, is not http or https, has no host, or its port is not a number.
    """
    if len(url) > MAX_URL:
        raise ValueError
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def is_local_host(host: str) -> bool:
    """Whether a host is the local computer, so that traffic to it cannot be intercepted."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
