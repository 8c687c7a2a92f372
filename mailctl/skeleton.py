"""HTML that is rendered once for many emails: what differs from one to the next is filled in."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from mailctl.message import Json

#: Variables that the packaged templates print and do nothing else with, except to ask whether they are empty.
PRINTED = (
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
_KEPT = 64


class Skeletons:
    """Renders the packaged HTML templates, most of which is the same for all emails of a kind.

    Args:
        render: renders a file with a context, escaping what it prints.
    """

    def __init__(self, render: Callable[[str, Mapping[str, Json]], str]) -> None:
        self._render = render
        self._known: dict[Hashable, list[str]] = {}
        # Nobody can guess it, and so nobody can write a hole into an email.
        mark = secrets.token_hex(8)
        self._holes = {name: f"{mark}:{name}:" for name in PRINTED}
        self._hole = re.compile(rf"{mark}:(\w+):")

    def render(self, file: str, context: Mapping[str, Json]) -> str:
        """Return what rendering the file with this context gives."""
        filled = {name: value for name in PRINTED if (value := context.get(name)) and isinstance(value, str)}
        rest = {name: value for name, value in context.items() if name not in filled}
        try:
            # The type as well: 1, 1.0 and True are equal, and print differently.
            key = (file, *filled), frozenset((name, type(value), value) for name, value in rest.items())
            pieces = self._known.get(key)
        except TypeError:  # a list or an object
            return self._render(file, context)
        if pieces is None:
            holes = {name: self._holes[name] for name in filled}
            pieces = self._hole.split(self._render(file, rest | holes))
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = pieces
        values = {name: str(escape(value)) for name, value in filled.items()}
        return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))
