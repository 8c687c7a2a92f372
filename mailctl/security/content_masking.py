"""Masks the secrets in texts to display: links stay recognisable, but do not work."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from mailctl.security.html_parts import mask_html
from mailctl.settings.credential_masking import JWT_PATTERN, MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailctl.domain.models import Content, Json

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
#: Shorter ones occur in colours and sizes.
_MIN_SECRET_LENGTH_IN_STYLE = 12


class SecretMasker:
    """Masks links and tokens in the texts of an email.

    Args:
        content: the content of the email, whose tokens and secrets are masked; None if it is not known.
        links: the links in the email.
        token_patterns: of URLs whose path holds a token (`LinkPaths.token_patterns`).
    """

    def __init__(
        self,
        content: Content | None = None,
        links: Iterable[str] = (),
        *,
        token_patterns: Iterable[re.Pattern[str]] = (),
    ) -> None:
        known = set(_secrets(content)) if content else set()
        # The longest first, because one may contain another.
        self._secrets = sorted({*known, *map(html.escape, known), *map(quote, known)}, key=len, reverse=True)
        found = {*links, *(content.urls.values() if content else ())}
        self._links = sorted({*found, *map(html.escape, found)}, key=len, reverse=True)
        self._pages = tuple(link.partition("?")[0] + "?" for link in found if "?" in link)
        self._token_patterns = tuple(token_patterns)

    def mask_html(self, source: str) -> str:
        """Return HTML without working links and readable tokens; style sheets and colours stay as they are.

        Texts and the values of attributes are masked like plain text. Of styles, only URLs and long secrets
        are masked: the colour #101214 looks like a code.
        """
        return mask_html(source, text=self.mask, style=self._mask_style)

    def _mask_style(self, css: str) -> str:
        for link in self._links:
            css = css.replace(link, _mask_link(link))
        for secret in self._secrets:
            if len(secret) >= _MIN_SECRET_LENGTH_IN_STYLE:
                css = css.replace(secret, MASK)
        return _URL.sub(lambda found: _mask_url(found[0]), css)

    def mask(self, text: str) -> str:
        """Return a plain text without working links and readable tokens."""
        text = self.mask_known(text)
        for pattern in self._token_patterns:
            text = pattern.sub(MASK, text)
        text = _URL.sub(lambda found: _mask_url(found[0]), text)
        return _CODE.sub(MASK, _OPAQUE_WORD.sub(MASK, text))

    def mask_known(self, text: str) -> str:
        """Return a text without the links and tokens of this email, and without JWTs; other URLs stay.

        A link is also masked if only its start is there, as in the reply of a mail server.
        """
        for link in self._links:
            text = text.replace(link, _mask_link(link))
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _URL.sub(self._mask_own_url, text)
        return JWT_PATTERN.sub(MASK, text)

    def _mask_own_url(self, found: re.Match[str]) -> str:
        return _mask_url(found[0]) if found[0].startswith(self._pages) else found[0]


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


def _secrets(content: Content) -> Iterator[str]:
    for value in (*content.tokens.values(), *_named_secrets(content.context)):
        if len(text := str(value)) >= _MIN_SECRET_LENGTH:
            yield text


def _named_secrets(value: Json, *, is_secret: bool = False) -> Iterator[Json]:
    """Yield the values that have the name of a secret, or are within an object with such a name."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _named_secrets(each, is_secret=is_secret or bool(_SECRET_NAME.search(name)))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _named_secrets(each, is_secret=is_secret)
    elif is_secret and value is not None and not isinstance(value, bool):
        yield value
