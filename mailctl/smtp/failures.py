"""Classifies exceptions in the middle of an SMTP session: pure decisions."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

import aiosmtplib

from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.errors import ConfigurationError
from mailctl.smtp.classify import classify_reply, one_line
from mailctl.smtp.known_replies import find_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How aiosmtplib begins its message about a line that is no reply.
_MALFORMED = "Malformed SMTP response line:"
_ERRNO = re.compile(r"\[Errno (\d+)\]")

_E = TypeVar("_E", bound=BaseException)


def classify_error(
    error: BaseException,
    *,
    stage: str,
    body_handed_over: bool,
    timeout_seconds: float | None = None,
    implicit_tls: bool = False,
    awaits_greeting: bool = False,
    guesses_port: bool = True,
) -> Outcome:
    """Decide what an exception in the middle of a session means.

    Args:
        error: the exception.
        stage: the stage at which it was raised.
        body_handed_over: whether the body was given to the transport; the outcome is then ambiguous.
        timeout_seconds: the time limit of the stage, for the text.
        implicit_tls: whether TLS starts with the connection.
        awaits_greeting: whether the server has accepted the connection, but has not sent its greeting.
        guesses_port: whether the text may then say that the server may be waiting for TLS.

    Returns:
        The outcome; its reply text names the reason, but no address or password.
    """
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return classify_reply(error.code, error.message, stage=stage)
    chain = list(_causes(error))
    if stage == "connect" and (_first(chain, ssl.SSLError) or (implicit_tls and _is_cut_off(chain))):
        stage = "tls"
    hint = _greeting_hint(guesses_port=guesses_port) if awaits_greeting else ""
    reason = _reason(chain, stage=stage, timeout_seconds=timeout_seconds, greeting_hint=hint)
    kind = OutcomeKind.AMBIGUOUS if body_handed_over else _kind_of_error(chain, stage)
    return Outcome(kind=kind, reply=SmtpReply(text=one_line(reason)), stage=stage)


def wrong_protocol(error: BaseException, *, stage: str) -> Outcome | None:
    """Return the outcome if a server of another protocol greeted us; None if it was not that."""
    if stage != "connect" or not isinstance(error, aiosmtplib.SMTPResponseException):
        return None
    # aiosmtplib says what is wrong with the line before it quotes it.
    protocol = find_protocol(error.message.removeprefix(_MALFORMED).strip())
    if protocol is None:
        return None
    reason = f"this port speaks {protocol}, not SMTP; EMAIL_PORT is usually 587, 465 or 25"
    return Outcome(kind=OutcomeKind.CONFIG, reply=SmtpReply(text=reason), stage=stage)


def _kind_of_error(chain: list[BaseException], stage: str) -> OutcomeKind:
    tls_error = _first(chain, ssl.SSLError) if stage == "tls" else None
    if _first(chain, ConfigurationError) or (tls_error and not _is_lost_handshake(tls_error)):
        return OutcomeKind.CONFIG
    if _first(chain, ValueError):  # an address that cannot be written into a command
        return OutcomeKind.REFUSED if stage == "rcpt" else OutcomeKind.CONFIG
    return OutcomeKind.DEFERRED


def _reason(
    chain: list[BaseException], *, stage: str, timeout_seconds: float | None, greeting_hint: str
) -> str:
    if configuration := _first(chain, ConfigurationError):
        return configuration.message.rstrip(".")
    if tls_error := _first(chain, ssl.SSLError):
        return _tls_reason(tls_error)
    if unresolved := _first(chain, socket.gaierror):
        return f"cannot resolve the host name: {(unresolved.strerror or 'unknown').lower()}"
    if number := _errno(chain):
        return os.strerror(number).lower() + (f" at {stage}" if stage != "connect" else "")
    if _first(chain, TimeoutError):
        limit = "" if timeout_seconds is None else f" after {timeout_seconds:g} s"
        return f"timed out{limit} at {stage}{greeting_hint}"
    if _first(chain, ConnectionError):
        return f"the server closed the connection at {stage}"
    if _first(chain, ValueError):
        return f"an address or a name cannot be used at {stage}"
    return f"interrupted at {stage} ({type(chain[0]).__name__})"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.rstrip('.')}"
    if _openssl_reason(error) == "WRONG_VERSION_NUMBER":
        return "the server does not speak TLS at once on this port; it may need EMAIL_TLS=starttls"
    if _is_lost_handshake(error):
        return "the server closed the connection during TLS"
    return f"TLS failed: {_openssl_reason(error).replace('_', ' ').lower()}"


def _openssl_reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or "unknown"  # missing if OpenSSL did not raise the error


def _is_lost_handshake(error: ssl.SSLError) -> bool:
    lost = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    return isinstance(error, lost) or _openssl_reason(error) == "UNEXPECTED_EOF_WHILE_READING"


def _is_cut_off(chain: list[BaseException]) -> bool:
    """Whether the server ended an established connection; with implicit TLS, that is during the handshake."""
    return any(isinstance(error, ConnectionResetError | ConnectionAbortedError) for error in chain)


def _greeting_hint(*, guesses_port: bool) -> str:
    """Return a hint for a connection without a greeting: the server may be waiting for TLS."""
    if not guesses_port:
        return ": no greeting"
    return ": no greeting; if this port speaks TLS at once (as 465 does), it needs EMAIL_TLS=implicit"


def _errno(chain: list[BaseException]) -> int | None:
    """Return the system's error number, which asyncio hides in the text if it tried several addresses."""
    for error in chain:
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            if error.errno is not None:
                return error.errno
            if found := _ERRNO.search(str(error)):
                return int(found[1])
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _first(chain: list[BaseException], kind: type[_E]) -> _E | None:
    return next((error for error in chain if isinstance(error, kind)), None)
