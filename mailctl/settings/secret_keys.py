"""Finds values of SECRET_KEY that are published or easy to guess."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The default key for development.
DEVELOPMENT_SECRET_KEY = "development-only-secret-key-change-me"  # noqa: S105 - known, and refused in production
#: Keys from examples, in lower case.
_PUBLISHED = frozenset({DEVELOPMENT_SECRET_KEY, "change-me", "changeme", "secret", "secret-key", "…"})
#: Letters that keys from examples and project templates contain.
_PLACEHOLDERS = ("changeme", "djangoinsecure", "yoursecretkey", "secretkeyhere", "development")
_NO_LETTER = re.compile(r"[\W\d_]+")
#: The shortest strong key in characters, and how many of them must differ.
MIN_KEY_LENGTH = 32
_MIN_DISTINCT_CHARACTERS = 8
#: A key that repeats a word of at most this length is as weak as the word.
_MAX_REPEATED_LENGTH = MIN_KEY_LENGTH // 2
_OLD_KEYS_SETTING = "MAILCTL_SECRET_KEYS_OLD"
_OLD_KEYS_FIX = (
    f"Remove it from {_OLD_KEYS_SETTING}; `mailctl db rekey` alone takes such a key, to re-encrypt what it"
    " encrypted."
)
_GENERATE_KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'


class InvalidKeys(ConfigurationError):
    """A setting with keys cannot be used.

    Args:
        setting: the name of the setting.
        reason: what is wrong with it.
        fix: what to do about it.
    """

    def __init__(self, setting: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{setting} {reason}", fix=fix)
        self.setting = setting
        self.reason = reason


class WeakKey(InvalidKeys):
    """A key is too weak for production."""


def parse_old_keys(text: str) -> list[str]:
    """Return the keys in MAILCTL_SECRET_KEYS_OLD: one per line, or a JSON list of strings.

    A comma separates nothing, because a key may contain one: its parts would be short keys that are valid.

    Raises:
        InvalidKeys: the value is neither, or a line contains a comma.
    """
    if text.lstrip().startswith("["):
        return _parse_json_keys(text)
    if "," in text:
        raise InvalidKeys(
            _OLD_KEYS_SETTING,
            "contains a comma, which does not separate keys.",
            fix=f'Write the keys one per line, or as a JSON list: {_OLD_KEYS_SETTING}=\'["…", "…"]\'.',
        )
    return [line.strip() for line in text.splitlines() if line.strip()]


def _parse_json_keys(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(key, str) and key.strip() for key in found):
        raise InvalidKeys(
            _OLD_KEYS_SETTING,
            "begins with [ and is not a JSON list of keys.",
            fix='Write it as ["…", "…"], or write the keys one per line.',
        ) from None
    return [key.strip() for key in found]


def check_keys(keys: Sequence[str]) -> None:
    """Refuse weak keys for production: anybody who knows or guesses one can create valid links.

    Args:
        keys: the current key, followed by earlier ones.

    Raises:
        WeakKey: a key is too weak.
    """
    newest, *earlier = keys
    fix = f"Set SECRET_KEY to the value of the web service; create a new one with: {_GENERATE_KEY_COMMAND}"
    if is_published(newest):
        raise WeakKey("SECRET_KEY", "is not set, or is an example that has been published.", fix=fix)
    if problem := _weakness(newest):
        raise WeakKey("SECRET_KEY", problem, fix=fix)
    for key in earlier:
        if problem := "is an example that has been published." if is_published(key) else _weakness(key):
            raise WeakKey(_OLD_KEYS_SETTING, f"contains a key that {problem}", fix=_OLD_KEYS_FIX)


def _weakness(key: str) -> str:
    if len(key.strip()) < MIN_KEY_LENGTH:
        return f"has fewer than {MIN_KEY_LENGTH} characters."
    if _is_repetitive(key.strip()):
        return f"repeats one short word, or has fewer than {_MIN_DISTINCT_CHARACTERS} different characters."
    return ""


def is_published(key: str) -> bool:
    """Whether a key is published, or comes from an example."""
    known = key.strip().lower()
    letters = _NO_LETTER.sub("", known)
    return known in _PUBLISHED or any(placeholder in letters for placeholder in _PLACEHOLDERS)


def _is_repetitive(key: str) -> bool:
    repeats = any(key[length:] == key[:-length] for length in range(1, _MAX_REPEATED_LENGTH + 1))
    return repeats or len(set(key)) < _MIN_DISTINCT_CHARACTERS
