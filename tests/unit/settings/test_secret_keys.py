"""Weak secret keys are refused in production."""

from __future__ import annotations

import secrets

import pytest

from mailctl.errors import ExitCode
from mailctl.settings.secret_keys import DEVELOPMENT_SECRET_KEY, WeakKey, check_keys, is_published

GOOD = "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0"


def test_a_random_key_is_accepted() -> None:
    """Also with an earlier one that is short."""
    check_keys([secrets.token_urlsafe(48)])
    check_keys([GOOD, "short"])


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "fewer than 32"),
        (DEVELOPMENT_SECRET_KEY, "published"),
        ("Change-Me", "published"),
        ("your-secret-key-here-0123456789012345", "published"),
        ("django-insecure-abcdefghijklmnopqrstuvwxyz0123", "published"),
        ("a" * 64, "repeats"),
        ("abc" * 20, "repeats"),
        ("0123456789abcdef" * 2, "repeats"),
        (f"  {GOOD[:31]}  ", "fewer than 32"),
    ],
)
def test_a_weak_key_is_refused(key: str, problem: str) -> None:
    """With its setting and the command for a better one."""
    with pytest.raises(WeakKey, match=f"^SECRET_KEY .*{problem}") as caught:
        check_keys([key])
    assert (caught.value.setting, caught.value.exit_code) == ("SECRET_KEY", ExitCode.USAGE)
    assert "token_urlsafe" in caught.value.fix
    assert not key.strip() or key.strip() not in caught.value.message


def test_an_earlier_key_must_not_be_published() -> None:
    """Whoever knows it could create valid links."""
    with pytest.raises(WeakKey, match=r"^MAILCTL_SECRET_KEYS_OLD "):
        check_keys([GOOD, DEVELOPMENT_SECRET_KEY])


def test_published_keys_are_recognised_in_any_case() -> None:
    """And with spaces around them."""
    assert is_published(f" {DEVELOPMENT_SECRET_KEY.upper()} ")
    assert not is_published(GOOD)
