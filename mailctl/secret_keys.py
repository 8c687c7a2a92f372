"""Which values of SECRET_KEY protect nothing, because everybody knows them or can guess them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The key that development starts with.
DEVELOPMENT_SECRET_KEY = "development-only-secret-key-change-me"  # noqa: S105 - known, and refused in production
#: Keys that stand in examples, in lower case.
_PUBLISHED = frozenset({DEVELOPMENT_SECRET_KEY, "change-me", "changeme", "secret", "secret-key", "…"})
#: What keys hold that come from an example or a template of a project, without what is no letter.
_PLACEHOLDERS = ("changeme", "djangoinsecure", "yoursecretkey", "secretkeyhere", "development")
_NO_LETTER = re.compile(r"[\W\d_]+")
#: Characters of a key that nobody guesses, and how many of them must differ.
MIN_KEY_LENGTH = 32
_MIN_DISTINCT_CHARACTERS = 8
#: A key that repeats a word of at most so many characters is as weak as the word.
_MAX_REPEATED_LENGTH = MIN_KEY_LENGTH // 2
_OLD_KEYS_SETTING = "MAILCTL_SECRET_KEYS_OLD"
_GENERATE_KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'


class WeakKey(ConfigurationError):
    """A key cannot be used in production.

    Args:
        setting: where it stands.
        reason: what is wrong with it.
    """

    def __init__(self, setting: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{setting} {reason}", fix=fix)
        self.setting = setting
        self.reason = reason


def check_keys(keys: Sequence[str]) -> None:
    """Refuse keys for production, the one that seals first.

    An earlier key may be short, so that a site can leave it behind, but not published: whoever knows a key
    makes links that it opens.

    Raises:
        WeakKey: one of them protects nothing.
    """
    newest, *earlier = keys
    fix = f"Give SECRET_KEY the value that the web service has; a new one comes from: {_GENERATE_KEY_COMMAND}"
    if is_published(newest):
        raise WeakKey("SECRET_KEY", "is not set, or has a published value that everybody knows.", fix=fix)
    if len(newest.strip()) < MIN_KEY_LENGTH:
        raise WeakKey("SECRET_KEY", f"has fewer than {MIN_KEY_LENGTH} characters.", fix=fix)
    if _is_repetitive(newest.strip()):
        reason = f"repeats one short word, or has fewer than {_MIN_DISTINCT_CHARACTERS} different characters."
        raise WeakKey("SECRET_KEY", reason, fix=fix)
    if any(map(is_published, earlier)):
        raise WeakKey(
            _OLD_KEYS_SETTING,
            "has a published value that everybody knows.",
            fix=f"Remove it from {_OLD_KEYS_SETTING}.",
        )


def is_published(key: str) -> bool:
    """Whether everybody knows a key, or it was left as an example has it."""
    known = key.strip().lower()
    letters = _NO_LETTER.sub("", known)
    return known in _PUBLISHED or any(placeholder in letters for placeholder in _PLACEHOLDERS)


def _is_repetitive(key: str) -> bool:
    repeats = any(key[length:] == key[:-length] for length in range(1, _MAX_REPEATED_LENGTH + 1))
    return repeats or len(set(key)) < _MIN_DISTINCT_CHARACTERS
