"""Reads values from the JSON of strangers: each has the expected type and a length, or is missing."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailctl.feedback.providers.webhook import RefusalReason, WebhookRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The longest text of a diagnostic, and of any other value, in characters.
_MAX_DIAGNOSTIC = 2_000
_MAX_TEXT = 998
#: The longest id that is kept as it is.
_MAX_ID = 120
#: Characters that databases or terminals do not take: controls, and the separators of lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])", re.ASCII)
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])", re.ASCII)
_FRACTION = re.compile(r"(\.\d{6})\d+", re.ASCII)


class Fields:
    """The members of a JSON object.

    Args:
        value: the object.

    Raises:
        WebhookRefused: it is something else.
    """

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise WebhookRefused(RefusalReason.MALFORMED)
        self._members: Mapping[str, Any] = value

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def text(self, name: str, *, longest: int = _MAX_TEXT) -> str | None:
        """Return a text or a number as one printable line, cut to `longest` characters; None for others."""
        value = self._members.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        return printable(str(value), longest=longest) or None

    def diagnostic(self, *names: str) -> str:
        """Return the first of these texts that is there; "" if none is."""
        return next((text for name in names if (text := self.text(name, longest=_MAX_DIAGNOSTIC))), "")

    def required(self, name: str) -> str:
        """Return a text.

        Raises:
            WebhookRefused: it is missing.
        """
        if (text := self.text(name)) is None:
            raise WebhookRefused(RefusalReason.MALFORMED)
        return text

    def whole(self, name: str) -> int | None:
        """Return a whole number, also from its digits as text; None for others."""
        text = self.text(name, longest=20) or ""
        return int(text) if text.isascii() and text.isdigit() else None

    def flag(self, name: str) -> bool | None:
        """Return a truth value; None for others."""
        value = self._members.get(name)
        return value if isinstance(value, bool) else None

    def seconds(self, name: str) -> datetime | None:
        """Return the time that a number of seconds since 1970 stands for; None for others."""
        return time_from_seconds(self.text(name, longest=32))

    def iso(self, name: str) -> datetime | None:
        """Return a time in ISO 8601, in UTC; None for others, and for one without its offset."""
        return time_from_iso(self.text(name, longest=40))

    def object(self, name: str) -> Fields:
        """Return an object; an empty one for others."""
        value = self._members.get(name)
        return Fields(value if isinstance(value, dict) else {})

    def objects(self, name: str) -> list[Fields]:
        """Return the objects of a list; none for others."""
        value = self._members.get(name)
        return [Fields(each) for each in value if isinstance(each, dict)] if isinstance(value, list) else []

    def texts(self, name: str) -> list[str]:
        """Return the texts of a list; none for others."""
        value = self._members.get(name)
        texts = value if isinstance(value, list) else []
        return [printable(each, longest=_MAX_TEXT) for each in texts if isinstance(each, str)]

    def nested(self, name: str) -> Fields:
        """Return the object that is written as JSON in a text; an empty one for others."""
        try:
            return Fields(load_json(str(self._members.get(name, "")).encode("utf-8", "replace")))
        except WebhookRefused:
            return Fields({})


def load_json(body: bytes) -> object:
    """Return what a body of JSON stands for.

    Raises:
        WebhookRefused: it is not JSON in UTF-8.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookRefused(RefusalReason.MALFORMED) from None


def load_list(body: bytes) -> list[object]:
    """Return the events of a body: those of its list, or the only one.

    Raises:
        WebhookRefused: it is neither a list nor an object.
    """
    value = load_json(body)
    if not isinstance(value, (list, dict)):
        raise WebhookRefused(RefusalReason.MALFORMED)
    return value if isinstance(value, list) else [value]


def printable(text: str, *, longest: int) -> str:
    """Return a text as one line that every database and terminal takes, cut to `longest` characters."""
    clean = text[: 2 * longest].encode("utf-8", "replace").decode()
    return _CONTROL.sub(" ", clean)[:longest].strip()


def time_from_seconds(text: str | None) -> datetime | None:
    """Return the time that seconds since 1970 stand for; None for other texts and impossible times."""
    try:
        return datetime.fromtimestamp(float(text or ""), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def time_from_iso(text: str | None) -> datetime | None:
    """Return a time in ISO 8601 with its offset, in UTC; None for other texts.

    Digits of a second beyond microseconds are cut off.
    """
    try:
        at = datetime.fromisoformat(_FRACTION.sub(r"\1", text or ""))
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def reply_code_in(text: str) -> int | None:
    """Return the first number in a text that looks like a reply code of SMTP; None if there is none."""
    found = _CODE.search(text)
    return int(found[1]) if found else None


def enhanced_code_in(text: str) -> str | None:
    """Return the first enhanced status code (RFC 3463) in a text; None if there is none."""
    found = _ENHANCED.search(text)
    return found[0] if found else None


def message_id_from(text: str | None) -> str | None:
    """Return a Message-ID without its angle brackets; None if there is none."""
    return (text or "").strip().removeprefix("<").removesuffix(">").strip() or None


def event_id(*parts: str | None) -> str:
    """Return an id of an event that is the same for each repetition.

    Args:
        parts: the id that the provider gives, or else the values that tell the event from all others.
    """
    if len(parts) == 1 and parts[0] and len(parts[0]) <= _MAX_ID:
        return parts[0]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
