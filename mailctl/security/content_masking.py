"""Masks the secrets in texts to display: links stay recognisable, but do not work."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from mailctl.redaction import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.domain.models import Content

_URL = re.compile(r"""\bhttps?://[^\s"'<>()\[\]]+""", re.IGNORECASE)
_URL_PARTS = re.compile(
    r"(?P<place>[^/?#]*//[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?", re.DOTALL
)
_VALUE = re.compile(r"=[^&]*")
#: Random path segments, random words, and codes such as one-time passwords.
_OPAQUE_SEGMENT = re.compile(r"(?<=/)(?=[^/]*\d)[\w.~%-]{16,}")
_OPAQUE_WORD = re.compile(r"(?<![\w.@/-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{24,}(?![\w@])")
_CODE = re.compile(r"(?<![\w.,:/-])\d{6,8}(?![\w@]|[.,:/-]\d)")
_SECRET_NAME = re.compile(r"token|secret|passw|pwd|otp|pin\b|code|key", re.IGNORECASE)
#: Shorter values occur within ordinary words.
_MIN_SECRET_LENGTH = 4


class SecretMasker:
    """Masks links and tokens in the texts of an email.

    Args:
        content: the content of the email, whose tokens and secrets are masked; None if it is not known.
        links: the links in the email.
    """

    def __init__(self, content: Content | None = None, links: Iterable[str] = ()) -> None:
        known = set(_secrets(content)) if content else set()
        # The longest first, because one may contain another.
        self._secrets = sorted({*known, *map(html.escape, known)}, key=len, reverse=True)
        found = {*links, *(content.urls.values() if content else ())}
        self._links = sorted({*found, *map(html.escape, found)}, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return a text, plain or HTML, without working links and readable tokens."""
        for link in self._links:
            text = text.replace(link, _mask_link(link))
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _URL.sub(lambda found: _mask_url(found[0]), text)
        return _CODE.sub(MASK, _OPAQUE_WORD.sub(MASK, text))


def _mask_link(link: str) -> str:
    """Return a link that is known to be secret, with at least its last path segment masked."""
    masked = _mask_url(link)
    return masked if masked != link else re.sub(r"(?<=[^/:])/[^/]*$", f"/{MASK}", link)


def _mask_url(url: str) -> str:
    found = _URL_PARTS.fullmatch(url)
    if found is None:
        return url
    place = re.sub(r"//.*@", f"//{MASK}@", found["place"])
    query = found["query"] or ""
    query = _VALUE.sub(f"={MASK}", query) if "=" in query else f"?{MASK}" if query else ""
    fragment = f"#{MASK}" if found["fragment"] else ""
    return place + _OPAQUE_SEGMENT.sub(MASK, found["path"]) + query + fragment


def _secrets(content: Content) -> Iterable[str]:
    named = {name: value for name, value in content.context.items() if _SECRET_NAME.search(name)}
    for value in (*content.tokens.values(), *named.values()):
        if len(text := str(value)) >= _MIN_SECRET_LENGTH:
            yield text
