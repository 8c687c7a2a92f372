"""Finds values of SECRET_KEY that are published or easy to guess."""

from __future__ import annotations

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
_GENERATE_KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'


class WeakKey(ConfigurationError):
    """A key is too weak for production.

    Args:
        setting: the name of the setting.
        reason: what is wrong with the key.
        fix: what to do about it.
    """

    def __init__(self, setting: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{setting} {reason}", fix=fix)
        self.setting = setting
        self.reason = reason


def check_keys(keys: Sequence[str]) -> None:
    """Refuse weak keys for production.

    An earlier key may be short, so that a site can replace it, but not published: anybody who knows a key can
    create valid links.

    Args:
        keys: the current key, followed by earlier ones.

    Raises:
        WeakKey: a key is too weak.
    """
    newest, *earlier = keys
    fix = f"Set SECRET_KEY to the value of the web service; create a new one with: {_GENERATE_KEY_COMMAND}"
    if is_published(newest):
        raise WeakKey("SECRET_KEY", "is not set, or is an example that has been published.", fix=fix)
    if len(newest.strip()) < MIN_KEY_LENGTH:
        raise WeakKey("SECRET_KEY", f"has fewer than {MIN_KEY_LENGTH} characters.", fix=fix)
    if _is_repetitive(newest.strip()):
        reason = f"repeats one short word, or has fewer than {_MIN_DISTINCT_CHARACTERS} different characters."
        raise WeakKey("SECRET_KEY", reason, fix=fix)
    if any(map(is_published, earlier)):
        raise WeakKey(
            _OLD_KEYS_SETTING,
            "contains an example that has been published.",
            fix=f"Remove it from {_OLD_KEYS_SETTING}.",
        )


def is_published(key: str) -> bool:
    """Whether a key is published, or comes from an example."""
    known = key.strip().lower()
    letters = _NO_LETTER.sub("", known)
    return known in _PUBLISHED or any(placeholder in letters for placeholder in _PLACEHOLDERS)


def _is_repetitive(key: str) -> bool:
    repeats = any(key[length:] == key[:-length] for length in range(1, _MAX_REPEATED_LENGTH + 1))
    return repeats or len(set(key)) < _MIN_DISTINCT_CHARACTERS
