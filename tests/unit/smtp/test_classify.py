"""What replies and errors mean: the table that decides whether an email is tried again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import aiosmtplib
import pytest

from mailctl.domain.models import OutcomeKind, SmtpReply
from mailctl.errors import ConfigurationError
from mailctl.smtp.classify import MAX_TEXT_LENGTH, classify_error, classify_reply

STAGES = ("connect", "tls", "auth", "mail", "rcpt", "data", "body")


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


def silent_server() -> aiosmtplib.SMTPConnectTimeoutError:
    error = aiosmtplib.SMTPConnectTimeoutError("Timed out waiting for server ready message")
    error.__cause__ = aiosmtplib.SMTPReadTimeoutError("Timed out waiting for server response")
    return error


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind"),
    [
        ("connect", 554, "5.7.1 no service for you", "config"),
        ("tls", 502, "5.5.1 not implemented", "config"),
        ("tls", 454, "4.7.0 TLS not available", "deferred"),
        ("auth", 535, "5.7.8 wrong credentials", "config"),
        ("auth", 534, "5.7.9 application password required", "config"),
        ("auth", 454, "4.7.0 too many logins", "deferred"),
        ("mail", 530, "5.7.0 sign in first", "config"),
        ("mail", 550, "5.7.60 not allowed to send as this sender", "config"),
        ("mail", 553, "5.1.8 sender not verified", "config"),
        ("mail", 553, "sender refused", "config"),
        ("mail", 552, "5.3.4 too large", "bounced"),
        ("mail", 523, "5.7.10 encryption needed", "config"),
        ("mail", 451, "4.3.0 later", "deferred"),
        ("rcpt", 451, "4.7.1 greylisted", "deferred"),
        ("rcpt", 452, "4.2.2 mailbox full", "deferred"),
        ("rcpt", 550, "5.1.1 no such user", "bounced"),
        ("rcpt", 552, "5.2.2 mailbox full", "bounced"),
        ("rcpt", 550, "5.4.5 daily limit exceeded", "config"),
        ("rcpt", 503, "5.5.1 MAIL first", "deferred"),
        ("data", 503, "5.5.1 RCPT first", "deferred"),
        ("data", 250, "a reply to something else", "deferred"),
        ("body", 250, "2.0.0 queued as 1", "accepted"),
        ("body", 451, "4.7.1 content filter", "deferred"),
        ("body", 554, "5.7.1 spam", "bounced"),
        ("body", 554, "5.7.9 policy", "bounced"),
        ("body", 354, "a reply to something else", "ambiguous"),
    ],
)
def test_stage_and_code_decide_what_a_reply_means(stage: str, code: int, text: str, kind: str) -> None:
    """The stage matters more than the code."""
    outcome = classify_reply(code, text, stage=stage)
    assert (outcome.kind, outcome.stage) == (kind, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_421_means_later_at_every_stage(stage: str) -> None:
    """421 says that the server goes away, never that the email is bad."""
    assert classify_reply(421, "4.3.2 shutting down", stage=stage).kind is OutcomeKind.DEFERRED


@pytest.mark.parametrize("stage", STAGES)
def test_only_after_the_body_a_positive_reply_is_acceptance(stage: str) -> None:
    """250 before the body does not mean that anybody took the email."""
    assert (classify_reply(250, "ok", stage=stage).kind is OutcomeKind.ACCEPTED) == (stage == "body")


@pytest.mark.parametrize("stage", STAGES)
def test_an_unreadable_reply_leaves_doubt_only_after_the_body(stage: str) -> None:
    """Garbage before the body cannot have been an acceptance."""
    outcome = classify_reply(-1, "Malformed SMTP response line: zzz", stage=stage)
    expected = OutcomeKind.AMBIGUOUS if stage == "body" else OutcomeKind.DEFERRED
    assert (outcome.kind, outcome.reply.code) == (expected, None)


def test_the_lines_of_a_reply_become_one_without_the_enhanced_code() -> None:
    """The enhanced code has its own field and is not repeated in the text."""
    reply = classify_reply(550, "5.1.1 No such user\n5.1.1 See our page", stage="rcpt").reply
    assert reply == SmtpReply(code=550, enhanced="5.1.1", text="No such user See our page")


def test_an_enhanced_code_of_another_class_does_not_count() -> None:
    """RFC 2034: the class of the enhanced code is that of the reply."""
    assert classify_reply(550, "4.2.2 odd", stage="rcpt").reply.enhanced is None


def test_a_number_that_only_begins_like_an_enhanced_code_stays_text() -> None:
    """An address such as 5.6.7.8 is not a status."""
    reply = classify_reply(550, "5.6.7.8 is listed", stage="rcpt").reply
    assert (reply.enhanced, reply.text) == (None, "5.6.7.8 is listed")


def test_reply_text_holds_nothing_that_a_terminal_or_database_cannot_take() -> None:
    """Control characters, bidirectional controls and undecodable bytes become spaces."""
    text = "\x1b[31mred\x00 \u202eright \udcff\tend"
    assert classify_reply(550, text, stage="rcpt").reply.text == "[31mred right end"


def test_reply_text_is_cut() -> None:
    """A server may talk as long as it likes; we keep a sentence or two."""
    assert len(classify_reply(550, "x" * 5000, stage="rcpt").reply.text) == MAX_TEXT_LENGTH


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
def test_a_server_that_cannot_be_reached_means_later(error: Exception, text: str) -> None:
    """The text names the reason without an address."""
    outcome = classify_error(error, stage="connect", body_handed_over=False, timeout_seconds=30)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.reply.text.startswith(text)
    assert outcome.reply.code is None


@pytest.mark.parametrize("message", ["self-signed certificate in certificate chain", "Hostname mismatch"])
def test_a_certificate_that_does_not_verify_is_a_matter_of_configuration(message: str) -> None:
    """Trying again would not help, and the recipient has nothing to do with it."""
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
    outcome = classify_error(silent_server(), stage="connect", body_handed_over=False)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert "EMAIL_TLS=implicit" in outcome.reply.text


def test_no_hint_at_implicit_tls_where_it_is_set() -> None:
    """A hint that cannot be the cause misleads."""
    outcome = classify_error(silent_server(), stage="connect", body_handed_over=False, implicit_tls=True)
    assert "EMAIL_TLS" not in outcome.reply.text


def test_a_handshake_that_breaks_off_means_later() -> None:
    """A lost connection says nothing about certificates."""
    error = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert classify_error(error, stage="tls", body_handed_over=False).kind is OutcomeKind.DEFERRED


def test_our_own_refusal_keeps_its_sentence() -> None:
    """What the session found out about the settings reaches the operator as it is."""
    error = ConfigurationError("the server does not offer STARTTLS")
    outcome = classify_error(error, stage="tls", body_handed_over=False)
    assert (outcome.kind, outcome.reply.text) == (OutcomeKind.CONFIG, "the server does not offer STARTTLS")


def test_an_error_with_a_reply_is_classified_by_the_reply() -> None:
    """aiosmtplib raises some replies; they mean what they mean."""
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
def test_whatever_happens_after_the_body_without_a_reply_is_ambiguous(error: BaseException) -> None:
    """The server may have taken the email, or not."""
    assert classify_error(error, stage="body", body_handed_over=True).kind is OutcomeKind.AMBIGUOUS


@pytest.mark.parametrize(("stage", "kind"), [("rcpt", OutcomeKind.BOUNCED), ("mail", OutcomeKind.CONFIG)])
def test_an_unusable_address_is_refused_without_repeating_it(stage: str, kind: OutcomeKind) -> None:
    """The recipient's is the email's fault, the sender's is ours; the text names neither."""
    outcome = classify_error(ValueError("u@example.com\r\n"), stage=stage, body_handed_over=False)
    assert outcome.kind is kind
    assert "example.com" not in outcome.reply.text
