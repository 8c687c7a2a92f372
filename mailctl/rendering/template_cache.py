"""Bodies that are rendered once for many emails: what differs from one to the next is filled in."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from mailctl.domain.models import Json

#: Variables that the packaged templates print, in a paragraph or outside of one, and do nothing else with,
#: except to ask whether they are empty.
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
#: Skeletons that are kept; an email with other words than those before it needs one of its own.
_MAX_ENTRIES = 64


@dataclass(frozen=True)
class _Segment:
    """Text with holes: every second piece names what goes there."""

    pieces: list[str]
    #: Whether it is laid out once it is whole.
    is_paragraph: bool

    def fill(self, values: Mapping[str, str]) -> str:
        whole = self.pieces.copy()
        whole[1::2] = [values[name] for name in whole[1::2]]
        return "".join(whole)


class TemplateCache:
    """Renders the packaged templates, most of which is the same for all emails of a kind.

    Args:
        render: renders a file with a context; in HTML it escapes what it prints.
        lay_out: makes a paragraph of a text. In place of it, templates use the `lay_out` from here, which
            waits where something is yet to be filled in.
    """

    def __init__(
        self, render: Callable[[str, Mapping[str, Json]], str], *, lay_out: Callable[[str], str]
    ) -> None:
        self._render = render
        self._format_paragraph = lay_out
        self._cache: dict[Hashable, list[list[_Segment]]] = {}
        # Nobody can guess it, and so nobody can write a hole into an email.
        self._nonce = secrets.token_hex(8)
        self._placeholders = {name: f"{self._nonce}:{name}:" for name in PLACEHOLDER_VARIABLES}
        self._placeholder_pattern = re.compile(rf"{self._nonce}:(\w+):")
        self._paragraph_delimiter = f"{self._nonce}/"

    def format_paragraph(self, text: str) -> str:
        """Make a paragraph of a text: at once, or of each email's own where it has holes."""
        return (
            f"{self._paragraph_delimiter}{text}{self._paragraph_delimiter}"
            if self._nonce in text
            else self._format_paragraph(text)
        )

    def render(self, files: Sequence[str], context: Mapping[str, Json]) -> list[str]:
        """Return what rendering each of the files with this context gives."""
        values = {
            name: value
            for name in PLACEHOLDER_VARIABLES
            if (value := context.get(name)) and isinstance(value, str)
        }
        rest = {name: value for name, value in context.items() if name not in values}
        try:
            # The type as well: 1, 1.0 and True are equal, and print differently.
            key = (*files, *values), frozenset((name, type(value), value) for name, value in rest.items())
            known = self._cache.get(key)
        except TypeError:  # a list or an object
            return [self._render(file, context) for file in files]
        if known is None:
            holes = {name: self._placeholders[name] for name in values}
            known = [self._split_segments(self._render(file, rest | holes)) for file in files]
            while len(self._cache) >= _MAX_ENTRIES:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = known
        escaped = {name: str(escape(value)) for name, value in values.items()}
        return [
            self._fill(skeleton, escaped if file.endswith(".html") else values)
            for file, skeleton in zip(files, known, strict=True)
        ]

    def _split_segments(self, rendered: str) -> list[_Segment]:
        stretches = enumerate(rendered.split(self._paragraph_delimiter))
        return [
            _Segment(self._placeholder_pattern.split(text), is_paragraph=number % 2 == 1)
            for number, text in stretches
        ]

    def _fill(self, skeleton: list[_Segment], values: Mapping[str, str]) -> str:
        texts = ((stretch.fill(values), stretch.is_paragraph) for stretch in skeleton)
        return "".join(self._format_paragraph(text) if is_paragraph else text for text, is_paragraph in texts)
