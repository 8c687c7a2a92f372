"""Credentials are masked in URLs and in what other programs say."""

from __future__ import annotations

import pytest

from mailctl.settings.credential_masking import mask_credentials, mask_url
from tests.tokens import hs256


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://app:hunter2@host/db", "postgresql://app:***@host/db"),
        ("postgresql://app:hun@ter2@host/db", "postgresql://app:***@host/db"),
        ("postgresql://app@host/db", "postgresql://app@host/db"),
        ("amqp://hun/ter2:x@host//", "amqp://***:***@host//"),
        ("postgresql://host/db?password=hunter2&x=1", "postgresql://host/db?password=***&x=1"),
        ("sqlite:////srv/app.db", "sqlite:////srv/app.db"),
        ("no URL\nat all", "no URL at all"),
    ],
)
def test_a_url_loses_its_password(url: str, shown: str) -> None:
    """Whatever characters the password contains."""
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "connection to redis://:hunter2@host failed",
        "host=db password=hunter2 user=app",
        "password='hunter2' user=app",
        '{"password": "hunter2"}',
        "invalid port number: 'hunter2'",
        "invalid literal for int() with base 10: 'hunter2'",
        "'hunter2' does not appear to be an IPv4 or IPv6 address",
    ],
)
def test_messages_of_other_programs_lose_passwords(text: str) -> None:
    """In URLs, options and what parsers quote."""
    masked = mask_credentials(text)
    assert "hunter2" not in masked
    assert "***" in masked


def test_messages_of_other_programs_lose_tokens() -> None:
    """A library may quote the JWT that it could not decode."""
    token = hs256({"sub": "7"})
    assert mask_credentials(f"Invalid token: {token}!") == "Invalid token: ***!"


@pytest.mark.parametrize("piece", ["a", "pwd", "secret_", "eyJ-", "http://a", "://", "pwd =  ", " "])
def test_a_message_without_end_is_masked_in_linear_time(piece: str) -> None:
    """A task of the service may quote its arguments; in quadratic time, some of these take minutes."""
    masked = mask_credentials(piece * (300_000 // len(piece)) + " password=hunter2")
    assert masked.endswith("***")


def test_other_text_stays_as_it_is() -> None:
    """There is nothing to hide."""
    assert mask_credentials("connection refused (port 6379)") == "connection refused (port 6379)"
