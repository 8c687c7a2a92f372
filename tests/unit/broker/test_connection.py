"""Errors of a driver become errors of mailctl, without credentials."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, MessageNacked
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from mailctl.broker.connection import broker_error, driver_errors, error_reason
from mailctl.errors import BrokerRefused, BrokerUnavailable, ExitCode

URL = "amqp://user:secret-of-the-broker@rabbit:5672//"


def connection(url: str = URL) -> Any:
    """Return what an error needs of a connection."""
    return SimpleNamespace(
        as_uri=lambda *, include_password: url,
        connection_errors=(ConnectionError,),
        channel_errors=(KeyError,),
    )


def test_a_broker_that_does_not_answer_is_named_without_its_password() -> None:
    """The fix names the settings."""
    error = broker_error(connection(), OperationalError(f"cannot connect to {URL}.\nmore"))
    assert type(error) is BrokerUnavailable
    assert "rabbit:5672" in error.message
    assert "does not answer" in error.message
    assert "secret-of-the-broker" not in str(error)
    assert "CELERY_BROKER_URL" in (error.fix or "")


def test_a_certificate_that_is_not_trusted_is_no_broker_that_has_to_be_started() -> None:
    """redis-py raises its own error while it handles that of TLS."""
    wrapped, raised = OperationalError("it failed"), RedisConnectionError("it failed")
    raised.__context__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    wrapped.__cause__ = raised
    found = broker_error(connection(), wrapped)
    assert "cannot be trusted" in found.message
    assert "ssl_ca_certs" in found.fix


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (AccessRefused("no permission"), ExitCode.USAGE, "no permission"),
        (MessageNacked(), ExitCode.FAILED, "it did not accept a message"),
    ],
)
def test_a_refusal_has_an_exit_code_of_its_own(error: Exception, code: ExitCode, text: str) -> None:
    """The broker has answered."""
    refused = broker_error(connection(), error)
    assert isinstance(refused, BrokerRefused)
    assert refused.exit_code == code
    assert text in refused.message


def test_a_reason_is_the_first_line_or_the_name_of_the_class() -> None:
    """Without a full stop, because it becomes a part of a sentence."""
    assert error_reason(ValueError("first line.\nsecond line")) == "first line."
    assert error_reason(ValueError("a line.")) == "a line"
    assert error_reason(TimeoutError()) == "TimeoutError"


def test_the_errors_of_a_driver_include_those_of_its_connection() -> None:
    """And those that kombu and py-amqp raise for any driver."""
    errors = driver_errors(connection())
    assert {ConnectionError, KeyError, OSError, MessageNacked} <= set(errors)
    assert not issubclass(TypeError, errors)
