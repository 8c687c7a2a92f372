"""Caches rendered bodies: most of a body is the same for all emails of a kind, and only values differ."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from mailctl.domain.models import Json

#: Variables that the built-in templates only print or test for emptiness, so that placeholders work for them.
PLACEHOLDER_VARIABLES = (
    "recipient_email",
    "greeting_name",
    "action_url",
    "reset_url",
    "verification_url",
    "whitelist_url",
    "blacklist_url",
    "ip_address",
    "occurred_at",
    "expires_at",
)
#: The number of cached bodies; each combination of other values has one.
_MAX_ENTRIES = 64


@dataclass(frozen=True)
class _Segment:
    """A part of a body: texts, alternating with names of variables."""

    pieces: list[str]
    #: Whether it must be wrapped as a paragraph after its values are filled in.
    is_paragraph: bool

    def fill(self, values: Mapping[str, str]) -> str:
        filled = self.pieces.copy()
        filled[1::2] = [values[name] for name in filled[1::2]]
        return "".join(filled)


class TemplateCache:
    """Renders the built-in templates from cached bodies with placeholders.

    Args:
        render: renders a file with a context, escaping values in HTML.
        wrap: wraps a text as a paragraph. Templates must use `format_paragraph` of the cache instead, which
            postpones the wrapping of a text with placeholders.
    """

    def __init__(
        self, render: Callable[[str, Mapping[str, Json]], str], *, wrap: Callable[[str], str]
    ) -> None:
        self._render = render
        self._format_paragraph = wrap
        self._cache: dict[Hashable, list[list[_Segment]]] = {}
        # Random, so that no value can contain a placeholder.
        self._nonce = secrets.token_hex(8)
        self._placeholders = {name: f"{self._nonce}:{name}:" for name in PLACEHOLDER_VARIABLES}
        self._placeholder_pattern = re.compile(rf"{self._nonce}:(\w+):")
        self._paragraph_delimiter = f"{self._nonce}/"

    def format_paragraph(self, text: str) -> str:
        """Return a text wrapped as a paragraph, or marked for wrapping if it contains placeholders."""
        return (
            f"{self._paragraph_delimiter}{text}{self._paragraph_delimiter}"
            if self._nonce in text
            else self._format_paragraph(text)
        )

    def render(self, files: Sequence[str], context: Mapping[str, Json]) -> list[str]:
        """Return the text of each file, rendered with a context."""
        values = {
            name: value
            for name in PLACEHOLDER_VARIABLES
            if (value := context.get(name)) and isinstance(value, str)
        }
        rest = {name: value for name, value in context.items() if name not in values}
        try:
            # With the type: 1, 1.0 and True are equal, but print differently.
            key = (*files, *values), frozenset((name, type(value), value) for name, value in rest.items())
            known = self._cache.get(key)
        except TypeError:  # a list or an object cannot be hashed
            return [self._render(file, context) for file in files]
        if known is None:
            placeholders = {name: self._placeholders[name] for name in values}
            known = [self._split_segments(self._render(file, rest | placeholders)) for file in files]
            while len(self._cache) >= _MAX_ENTRIES:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = known
        escaped = {name: str(escape(value)) for name, value in values.items()}
        return [
            self._fill(segments, escaped if file.endswith(".html") else values)
            for file, segments in zip(files, known, strict=True)
        ]

    def _split_segments(self, rendered: str) -> list[_Segment]:
        texts = enumerate(rendered.split(self._paragraph_delimiter))
        return [
            _Segment(self._placeholder_pattern.split(text), is_paragraph=number % 2 == 1)
            for number, text in texts
        ]

    def _fill(self, segments: list[_Segment], values: Mapping[str, str]) -> str:
        texts = ((segment.fill(values), segment.is_paragraph) for segment in segments)
        return "".join(self._format_paragraph(text) if is_paragraph else text for text, is_paragraph in texts)
