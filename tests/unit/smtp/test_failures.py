"""What exceptions in the middle of a session mean."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import aiosmtplib
import pytest

from mailctl.domain.outcomes import OutcomeKind, SmtpReply
from mailctl.errors import ConfigurationError
from mailctl.smtp.failures import classify_error


def refused() -> aiosmtplib.SMTPConnectError:
    error = aiosmtplib.SMTPConnectError("Error connecting")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 25)")
    return error


def bad_certificate(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refused(), "connection refused"),
        (
            OSError(f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] a, [Errno 101] b"),
            "connection refused",
        ),
        (OSError(errno.EHOSTUNREACH, "x"), os.strerror(errno.EHOSTUNREACH).lower()),
        (socket.gaierror(-2, "Name or service not known"), "cannot resolve the host name: name or service"),
        (aiosmtplib.SMTPConnectTimeoutError("x"), "timed out after 30 s at connect"),
        (aiosmtplib.SMTPServerDisconnected("x"), "the server closed the connection at connect"),
    ],
)
def test_an_unreachable_server_defers_the_email(error: Exception, text: str) -> None:
    """The text names the reason without an address."""
    outcome = classify_error(error, stage="connect", body_handed_over=False, timeout_seconds=30)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.reply.text.startswith(text)
    assert outcome.reply.code is None


@pytest.mark.parametrize("message", ["self-signed certificate in certificate chain", "Hostname mismatch"])
def test_an_invalid_certificate_is_a_configuration_error(message: str) -> None:
    """A retry would not help, and the recipient is not the cause."""
    outcome = classify_error(bad_certificate(message), stage="connect", body_handed_over=False)
    assert (outcome.kind, outcome.stage) == (OutcomeKind.CONFIG, "tls")
    assert outcome.reply.text == f"certificate verify failed: {message}"


def test_a_plain_answer_to_tls_hints_at_starttls() -> None:
    """EMAIL_TLS=implicit on port 587 is a common mistake."""
    outcome = classify_error(tls_error("WRONG_VERSION_NUMBER"), stage="connect", body_handed_over=False)
    assert outcome.kind is OutcomeKind.CONFIG
    assert "EMAIL_TLS=starttls" in outcome.reply.text


def test_a_connection_without_greeting_hints_at_implicit_tls() -> None:
    """EMAIL_TLS=starttls on port 465: both sides wait for each other."""
    outcome = classify_error(TimeoutError(), stage="connect", body_handed_over=False, awaits_greeting=True)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert "no greeting; if this port" in outcome.reply.text
    assert "EMAIL_TLS=implicit" in outcome.reply.text


def test_nothing_is_said_of_a_greeting_where_there_was_no_connection() -> None:
    """Such as where a firewall drops all packets."""
    outcome = classify_error(TimeoutError(), stage="connect", body_handed_over=False)
    assert "greeting" not in outcome.reply.text


def test_there_is_no_hint_at_implicit_tls_if_it_is_set() -> None:
    """A wrong hint misleads."""
    outcome = classify_error(
        TimeoutError(), stage="connect", body_handed_over=False, awaits_greeting=True, guesses_port=False
    )
    assert "EMAIL_TLS" not in outcome.reply.text


def test_a_lost_handshake_defers_the_email() -> None:
    """It says nothing about certificates."""
    error = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert classify_error(error, stage="tls", body_handed_over=False).kind is OutcomeKind.DEFERRED


def test_a_configuration_error_keeps_its_message() -> None:
    """It reaches the operator unchanged."""
    error = ConfigurationError("the server does not offer STARTTLS")
    outcome = classify_error(error, stage="tls", body_handed_over=False)
    assert (outcome.kind, outcome.reply.text) == (OutcomeKind.CONFIG, "the server does not offer STARTTLS")


def test_an_exception_with_a_reply_is_classified_by_the_reply() -> None:
    """aiosmtplib raises some replies."""
    error = aiosmtplib.SMTPAuthenticationError(535, "5.7.8 wrong")
    outcome = classify_error(error, stage="auth", body_handed_over=False)
    assert (outcome.kind, outcome.reply) == (
        OutcomeKind.CONFIG,
        SmtpReply(code=535, enhanced="5.7.8", text="wrong"),
    )


@pytest.mark.parametrize(
    "error",
    [
        aiosmtplib.SMTPServerDisconnected("x"),
        aiosmtplib.SMTPReadTimeoutError("x"),
        ConnectionResetError(errno.ECONNRESET, "x"),
        tls_error("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        asyncio.CancelledError(),
    ],
)
def test_a_failure_after_the_body_is_ambiguous(error: BaseException) -> None:
    """The server may have accepted the email."""
    assert classify_error(error, stage="body", body_handed_over=True).kind is OutcomeKind.AMBIGUOUS


@pytest.mark.parametrize(("stage", "kind"), [("rcpt", OutcomeKind.REFUSED), ("mail", OutcomeKind.CONFIG)])
def test_an_invalid_address_is_not_repeated(stage: str, kind: OutcomeKind) -> None:
    """The recipient's fails the email, the sender's is a configuration error."""
    outcome = classify_error(ValueError("u@example.com\r\n"), stage=stage, body_handed_over=False)
    assert outcome.kind is kind
    assert "example.com" not in outcome.reply.text
