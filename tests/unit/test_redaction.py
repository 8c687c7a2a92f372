"""Addresses, passwords and credentials are masked."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path

import pytest

from mailctl import redaction
from mailctl.json_logging import EscapingFormatter, JsonFormatter
from mailctl.redaction import (
    mask_address,
    mask_addresses_in_text,
    mask_credentials,
    mask_password,
    mask_url,
    masking_logger,
)
from tests.tokens import hs256


def test_an_address_stays_recognisable() -> None:
    """By its first letter and its domain."""
    assert mask_address("zoe@example.com") == "z…@example.com"
    assert (
        mask_addresses_in_text("<zoe@example.com>: no max@x.example.") == "<z…@example.com>: no m…@x.example."
    )


@pytest.mark.parametrize("url", ["redis://:***@host:6379/0", "amqp://shop:***@host//", "redis://shop@host/0"])
def test_the_user_of_a_url_is_no_address(url: str) -> None:
    """An operator has to know which server is meant."""
    assert mask_addresses_in_text(f"The broker at {url} is down.") == f"The broker at {url} is down."


class TestMaskingLoggers:
    """Whatever is logged with one, wherever its records go, has no address in clear."""

    def test_messages_and_tracebacks_are_masked(self, caplog: pytest.LogCaptureFixture) -> None:
        """Also what other code put into an exception."""
        log = masking_logger("mailctl.test_redaction")
        assert masking_logger("mailctl.test_redaction").filters == log.filters
        assert len(log.filters) == 1
        try:
            raise ValueError("550 <zoe@example.com>: no such user")
        except ValueError as error:
            log.exception("email %s: %s", "e1", error)
        log.warning("nothing to mask: %d", 7)
        first, second = caplog.records
        assert first.getMessage() == "email e1: 550 <z…@example.com>: no such user"
        assert (second.getMessage(), second.args) == ("nothing to mask: 7", (7,))
        for formatter in (logging.Formatter(), EscapingFormatter(logging.Formatter()), JsonFormatter()):
            printed = formatter.format(first)
            assert "Traceback" in printed
            assert "zoe@" not in printed

    def test_what_runs_in_the_processes_of_a_service_logs_with_one(self) -> None:
        """No call in these modules has to remember it."""
        package = Path(redaction.__file__).parent
        modules = [*(package / "recorder").glob("*.py"), *(package / "enqueue").glob("*.py")]
        modules += [package / name for name in ("service.py", "sync.py", "tasks.py", "smtp/observer.py")]
        unmasked = [path.name for path in modules if "getLogger(" in path.read_text()]
        assert unmasked == []


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


def test_other_text_stays_as_it_is() -> None:
    """There is nothing to hide."""
    assert mask_credentials("connection refused (port 6379)") == "connection refused (port 6379)"


@pytest.mark.parametrize(
    "sent", ["hunter2", "\0app\0hunter2", "app\0app\0hunter2"], ids=["login", "plain", "plain with identity"]
)
def test_a_password_is_masked_as_smtp_carries_it(sent: str) -> None:
    """Some servers repeat the command that they refuse."""
    encoded = b64encode(sent.encode()).decode()
    masked = mask_password(f"cannot decode {encoded}", "hunter2", user="app", also_plain=False)
    assert masked == "cannot decode ***"


def test_a_password_in_clear_is_masked_only_on_request() -> None:
    """It may be an ordinary word, and a short one may be part of any."""
    assert mask_password("no secret", "secret", user="", also_plain=False) == "no secret"
    assert mask_password("no secret", "secret", user="", also_plain=True) == "no ***"
    assert mask_password("no pin", "pin", user="", also_plain=True) == "no pin"
