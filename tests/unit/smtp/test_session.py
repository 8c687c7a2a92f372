"""What a session writes, and what it makes of replies; `tests/integration` has it with a real server."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import Outcome, OutcomeKind, SmtpReply
from mailctl.errors import ConfigurationError
from mailctl.smtp import session
from mailctl.smtp.session import SmtpServer, SmtpSession, make_tls_context

if TYPE_CHECKING:
    from pathlib import Path

SERVER = SmtpServer(host="mail.example.com", port=587)


@pytest.mark.parametrize(
    ("server", "stages"),
    [
        (SERVER, ["connect", "tls"]),
        (SmtpServer(host="h", port=465, tls="implicit", username="u"), ["connect", "auth"]),
        (SmtpServer(host="h", port=587, username="u"), ["connect", "tls", "auth"]),
        (SmtpServer(host="h", port=25, tls="none"), ["connect"]),
    ],
)
def test_the_stages_of_opening_follow_from_the_settings(server: SmtpServer, stages: list[str]) -> None:
    """With implicit TLS, encryption is part of connecting."""
    made = SmtpSession(server, tls_context=ssl.create_default_context)
    assert [stage for stage, _ in made.opening_steps()] == stages


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\nb", b"a\r\nb\r\n.\r\n"),
        (b".a\r\n..b\r\n.\r\nc.\r\n", b"..a\r\n...b\r\n..\r\nc.\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
    ],
)
def test_a_body_cannot_end_itself(data: bytes, sent: bytes) -> None:
    """Leading dots are doubled, and line ends are CRLF (RFC 5321 section 4.5.2)."""
    assert session._dot_stuff(session._with_crlf(data)) == sent


@pytest.mark.parametrize(
    "address", ["a b@example.com", "a@b> SIZE=0", "a@b\r\nRCPT TO:<c@d>", "", "é@example.com"]
)
def test_an_address_cannot_extend_a_command(address: str) -> None:
    """Nor does the error repeat it."""
    with pytest.raises(ValueError, match="not one plain address") as caught:
        session._path(address)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize("code", [250, 421, 503, None])
def test_only_a_plain_refusal_leaves_a_session_to_reuse(code: int | None) -> None:
    """Other replies may belong to another command; here the connection is not even open."""
    made = SmtpSession(SERVER, tls_context=ssl.create_default_context)
    assert not made.can_be_reused(Outcome(kind=OutcomeKind.BOUNCED, reply=SmtpReply(code=code)))


def test_a_failure_after_the_body_is_ambiguous() -> None:
    """The session knows its stage and whether the body was handed over."""
    made = SmtpSession(SERVER, tls_context=ssl.create_default_context)
    made.stage = "body"
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.DEFERRED
    made.body_handed_over = True
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.AMBIGUOUS


def test_a_missing_ca_file_is_a_configuration_error(tmp_path: Path) -> None:
    """It must not be retried like a network failure."""
    server = SmtpServer(host="h", port=587, ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        make_tls_context(server)
    assert caught.value.__cause__ is None


def test_tls_verifies_the_certificate() -> None:
    """And the host name."""
    context = make_tls_context(SERVER)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_server_does_not_show_its_password() -> None:
    """In logs and tracebacks."""
    assert "hunter2" not in repr(SmtpServer(host="h", port=1, username="u", password="hunter2"))
