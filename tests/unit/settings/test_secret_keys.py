"""Weak secret keys are refused in production."""

from __future__ import annotations

import secrets

import pytest

from mailctl.errors import ExitCode
from mailctl.settings.secret_keys import (
    DEVELOPMENT_SECRET_KEY,
    InvalidKeys,
    WeakKey,
    check_keys,
    is_published,
    parse_old_keys,
)

GOOD = "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0"


def test_a_random_key_is_accepted() -> None:
    """Also beside an earlier one."""
    check_keys([secrets.token_urlsafe(48)])
    check_keys([GOOD, secrets.token_urlsafe(48)])


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


@pytest.mark.parametrize("earlier", [DEVELOPMENT_SECRET_KEY, "short", "a" * 64, "correct-horse!" * 3])
def test_an_earlier_key_must_be_as_strong_as_the_current_one(earlier: str) -> None:
    """Whoever knows or guesses it could create valid links."""
    with pytest.raises(WeakKey, match=r"^MAILCTL_SECRET_KEYS_OLD ") as caught:
        check_keys([GOOD, earlier])
    assert earlier not in caught.value.message
    assert "db rekey" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\n\n  two \n", ["one", "two"]),
        ('["one", "with, a comma"]', ["one", "with, a comma"]),
        ("[]", []),
        (' [" one "]', ["one"]),
    ],
)
def test_earlier_keys_stand_one_a_line_or_in_a_json_list(text: str, keys: list[str]) -> None:
    """A key may contain anything else."""
    assert parse_old_keys(text) == keys


@pytest.mark.parametrize(
    "text", [f"{GOOD},x", "one, two", "[1]", '["a"', '[""]', '{"a": 1}, 2', "[" * 99_999]
)
def test_a_comma_separates_no_keys(text: str) -> None:
    """A part of a key would be a short key that is valid: a link could be forged with it."""
    with pytest.raises(InvalidKeys, match=r"^MAILCTL_SECRET_KEYS_OLD ") as caught:
        parse_old_keys(text)
    assert GOOD not in f"{caught.value} {caught.value.fix}"


def test_published_keys_are_recognised_in_any_case() -> None:
    """And with spaces around them."""
    assert is_published(f" {DEVELOPMENT_SECRET_KEY.upper()} ")
    assert not is_published(GOOD)
