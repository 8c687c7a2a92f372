"""What goes over the wire: lines, dots, extensions and the version of TLS."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.server import make_tls_context
from tests.smtp_client import message, plain, send, signed_in
from tests.smtp_server import DEFAULT_EXTENSIONS, Certificates, Reply, ScriptedSmtpServer, test_certificates

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own."""
    return test_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    "body",
    [
        b".\r\n",
        b"..\r\n.a\r\n",
        b"a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
        b"a\n.\nMAIL FROM:<evil@example.com>\n",
        b"a\r.\rMAIL FROM:<evil@example.com>\r",
        b"a\n.\r\nMAIL FROM:<evil@example.com>",
        b"a\r\n.\rRCPT TO:<evil@example.com>",
        b"a\r\r\n.\r\r\nQUIT\r\n",
    ],
)
def test_no_body_ends_before_its_end(body: bytes) -> None:
    """A dot that begins a line is doubled, and a bare CR or LF never goes out (RFC 5321, 2.3.8 and 4.5.2)."""
    with ScriptedSmtpServer() as server:
        [outcome] = send(plain(server), message(body=body))
        [accepted] = server.messages
        verbs = [line.split()[0].upper() for _, way, line in server.log if way == "C"]
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert verbs.count("MAIL") == verbs.count("RCPT") == 1
    assert accepted.recipients == ("one@example.com",)
    data = accepted.data
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    assert data.rstrip(b"\r\n").endswith(b"\r\n".join(lines).rstrip(b"\r\n"))


@pytest.mark.parametrize("extensions", [DEFAULT_EXTENSIONS, (*DEFAULT_EXTENSIONS, "SMTPUTF8"), ()])
def test_smtputf8_is_never_needed(extensions: tuple[str, ...]) -> None:
    """Addresses and headers are ASCII; what a server does not offer is not asked of it."""
    with ScriptedSmtpServer(extensions=extensions) as server:
        [outcome] = send(plain(server), message())
        commands = [line.upper() for _, way, line in server.log if way == "C"]
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert not any("SMTPUTF8" in line for line in commands)
    assert all(line.isascii() for line in commands)
    assert any("BODY=8BITMIME" in line for line in commands) == bool(extensions)


@pytest.mark.parametrize("lines", [["550-" + "x" * 60_000, "550 x"], ["550-x"] * 40_000 + ["550 x"]])
def test_a_reply_without_end_is_none(lines: list[str]) -> None:
    """Whether in one line or in many: nobody collects it, and the connection is given up."""
    with ScriptedSmtpServer({"rcpt": [Reply("\n".join(lines))]}) as server:
        [outcome] = send(plain(server), message())
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.stage in ("mail", "rcpt")  # they are asked together


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("is_implicit", [False, True])
def test_a_server_that_speaks_only_old_tls_is_refused(is_implicit: bool, certificates: Certificates) -> None:
    """Neither credentials nor mail go out, and nothing falls back to clear text."""
    old = certificates.server
    before = (old.minimum_version, old.maximum_version)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with ScriptedSmtpServer(
            ssl_context=old, implicit=is_implicit, credentials=("app", "secret")
        ) as server:
            configured = replace(
                signed_in(server, certificates), tls="implicit" if is_implicit else "starttls"
            )
            [outcome] = send(configured, message())
            verbs = {line.split()[0].upper() for _, way, line in server.log if way == "C"}
    finally:
        old.maximum_version, old.minimum_version = before[1], before[0]
    # Some servers say why (a matter of configuration), some just hang up.
    assert outcome.kind in (OutcomeKind.CONFIG, OutcomeKind.DEFERRED)
    assert outcome.stage == "tls"
    assert verbs <= {"EHLO", "STARTTLS", "QUIT"}
    assert not server.messages


def test_tls_begins_at_1_2_and_knows_whom_it_trusts(certificates: Certificates, tmp_path: Path) -> None:
    """Whatever OpenSSL here would allow."""
    with ScriptedSmtpServer() as server:
        context = make_tls_context(signed_in(server, certificates))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
