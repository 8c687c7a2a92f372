"""Masks credentials in URLs and in the messages of other programs."""

from __future__ import annotations

import re

#: Replaces a secret.
MASK = "***"
_URL = re.compile(r"(?P<scheme>[\w+.-]+)://(?:(?P<credentials>.*)@)?(?P<rest>.*)", re.DOTALL)
_USER = re.compile(r"[\w.%+-]*")
_SECRET_OPTION = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*)=[^&;]*", re.IGNORECASE)
# The quantifiers of what is searched for are bounded, so that a message of any length takes linear time.
_CREDENTIALS = re.compile(r"(?P<before>[\w+.-]://(?:[\w.%+-]{0,500}:)?)\S{0,2000}@")
#: A password as programs print it, such as in a connection string of libpq.
_ASSIGNED = re.compile(
    r"(?P<name>(?:passw(?:or)?d|pwd|secret)\w{0,50}(?:\s{0,9}=\s*|[\"']\s{0,9}:\s*))"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&)]+)",
    re.IGNORECASE,
)
#: A JSON Web Token (RFC 7519): its header, an object in base64url, starts with these letters.
JWT_PATTERN = re.compile(r"\beyJ[\w-]{0,4000}\.[\w-]+\.[\w-]*", re.ASCII)
#: A text that parsers quote as an invalid port or host, and that may be part of a password.
_QUOTED = re.compile(
    r"(?P<before>to integer value as |with base 10: |invalid port number: |invalid integer value )"
    r"(?:'[^']*'|\"[^\"]*\")"
    r"|(?:'[^']*'|\"[^\"]*\")(?P<after> does not appear to be an IPv)"
)


def mask_url(value: object) -> str:
    """Return a value as one printable line, and a URL without its password.

    Everything up to the last @ counts as credentials, because a password may contain any character.
    """
    text = "".join(char if char.isprintable() else " " for char in str(value))
    found = _URL.fullmatch(text)
    if not found:
        return text
    rest = _SECRET_OPTION.sub(rf"\1={MASK}", found["rest"])
    if found["credentials"] is None:
        return f"{found['scheme']}://{rest}"
    user, _, password = found["credentials"].partition(":")
    shown = (user if _USER.fullmatch(user) else MASK) + (f":{MASK}" if password else "")
    return f"{found['scheme']}://{shown}{'@' if shown else ''}{rest}"


def mask_credentials(text: str) -> str:
    """Return a message of another program, with its JWTs and the passwords in its URLs and options masked."""
    text = _CREDENTIALS.sub(rf"\g<before>{MASK}@", text)
    text = JWT_PATTERN.sub(MASK, _ASSIGNED.sub(rf"\g<name>{MASK}", text))
    return _QUOTED.sub(lambda found: f"{found['before'] or ''}{MASK}{found['after'] or ''}", text)
