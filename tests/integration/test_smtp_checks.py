"""The checks of the mail server against real ones."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mailctl.checks.finding import Finding, FindingStatus
from mailctl.settings import Settings
from mailctl.settings.server_variables import read_server_variables
from tests.integration.checking import check
from tests.servers import LineServer
from tests.smtp_server import (
    AcceptThenDrop,
    Certificates,
    Reply,
    Script,
    ScriptedSmtpServer,
    Stall,
    test_certificates,
)

pytestmark = pytest.mark.usefixtures("empty_folder")
OK, WARN, FAIL, SKIP = FindingStatus


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a server's certificate from it."""
    return test_certificates(tmp_path_factory.mktemp("certificates"))


def mailing(
    server: ScriptedSmtpServer | LineServer, certificates: Certificates | None = None, **changes: Any
) -> Settings:
    """Return settings for a mail server; with certificates over STARTTLS, signed in."""
    usual: dict[str, Any] = {
        "email_enabled": True,
        "email_host": "127.0.0.1",
        "email_port": server.port or 25,
        "email_tls": "none",
    }
    if certificates is not None:
        usual |= {
            "email_tls": "starttls",
            "email_ca_file": certificates.ca_file,
            "email_host_user": "app",
            "email_host_password": SecretStr("hunter2"),
        }
    return Settings(**{**usual, **changes})


def steps(found: dict[str, Finding]) -> dict[str, FindingStatus]:
    """Return the status of each step of the check of the mail server."""
    return {
        key.partition("/")[2]: finding.status for key, finding in found.items() if key.startswith("smtp/")
    }


class TestSmtp:
    def test_a_server_that_works_passes_each_step(self, certificates: Certificates) -> None:
        """It receives no message."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "hunter2")) as server:
            found = check(mailing(server, certificates))
        assert steps(found) == {"connect": OK, "tls": OK, "auth": OK, "mail": OK, "rcpt": OK}
        assert "STARTTLS" in found["smtp/connect"].detail
        assert "certificate for 127.0.0.1" in found["smtp/tls"].detail
        assert found["smtp/auth"].detail.startswith("signed in as app (")
        assert server.messages == []

    def test_a_token_that_is_user_and_password_is_not_shown(self, certificates: Certificates) -> None:
        """Some providers use one token for both."""
        token = "hunter2-token"
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=(token, token)) as server:
            found = check(
                mailing(server, certificates, email_host_user=token, email_host_password=SecretStr(token))
            )
        assert found["smtp/auth"].detail.startswith("signed in as *** (")
        assert token not in repr(found)

    def test_what_is_not_configured_is_skipped(self) -> None:
        """A relay on the same host needs neither."""
        with ScriptedSmtpServer() as server:
            found = check(mailing(server))
        assert steps(found) == {"connect": OK, "tls": SKIP, "auth": SKIP, "mail": OK, "rcpt": OK}

    def test_a_wrong_password_fails(self, certificates: Certificates) -> None:
        """It is tried once, because more attempts could lock the account."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "other")) as server:
            found = check(mailing(server, certificates), send_test="ada@example.com")
            tries = [line for _, way, line in server.log if way == "C" and line.startswith("AUTH")]
        assert steps(found) == {"connect": OK, "tls": OK, "auth": FAIL, "send-test": SKIP}
        assert "EMAIL_HOST_PASSWORD" in found["smtp/auth"].fix
        assert len(tries) == 1
        assert "hunter2" not in repr(found)

    def test_an_unknown_authority_fails(self, certificates: Certificates, tmp_path: Path) -> None:
        """The fix names the setting for it."""
        with ScriptedSmtpServer(ssl_context=test_certificates(tmp_path).server) as server:
            found = check(mailing(server, certificates))
        assert steps(found) == {"connect": OK, "tls": FAIL}
        assert "certificate verify failed" in found["smtp/tls"].detail
        assert "EMAIL_CA_FILE" in found["smtp/tls"].fix

    @pytest.mark.parametrize(
        ("step", "changes", "detail", "fix"),
        [
            ("auth", {"email_oauth_token": "os:nothing"}, "os:nothing cannot be imported", "Name a module"),
            ("auth", {"email_oauth_token_command": SecretStr("false")}, "exited with code 1.", "by hand"),
            ("auth", {"email_oauth_token_command": SecretStr("echo old")}, "535", "the access token is for"),
            ("tls", {"email_tls_client_cert": Path("none.pem")}, "none.pem cannot", "EMAIL_TLS_CLIENT_CERT"),
        ],
    )
    def test_an_error_that_says_what_to_do_is_not_given_other_advice(
        self, step: str, changes: dict[str, Any], detail: str, fix: str, certificates: Certificates
    ) -> None:
        """Nobody corrects a password because a command fails."""
        if step == "auth":
            changes = {"email_auth": "xoauth2", "email_host_password": SecretStr(""), **changes}
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "valid")) as server:
            finding = check(mailing(server, certificates, **changes))[f"smtp/{step}"]
        assert (finding.status, detail in finding.detail, fix in finding.fix) == (FAIL, True, True)
        assert not {"..", "EMAIL_HOST_PASSWORD", "EMAIL_CA_FILE"} & {
            finding.detail[-2:],
            *finding.fix.split(),
        }

    def test_an_lmtp_server_is_recognised(self) -> None:
        """It knows neither EHLO nor HELO, and its greeting need not say what it is (RFC 2033)."""
        script: Script = {"ehlo": lambda _: "500 5.5.1 Unknown command", "lhlo": lambda _: "250 here"}
        with ScriptedSmtpServer(script) as server:
            finding = check(mailing(server))["smtp/connect"]
        assert (finding.status, "speaks LMTP" in finding.detail) == (FAIL, True), finding
        assert "SMTP and relays" in finding.fix

    def test_a_server_without_encryption_fails(self, certificates: Certificates) -> None:
        """Nothing falls back to clear text."""
        with ScriptedSmtpServer() as server:
            found = check(mailing(server, certificates))
        assert steps(found) == {"connect": OK, "tls": FAIL}
        assert "EMAIL_TLS" in found["smtp/tls"].fix

    def test_unencrypted_credentials_fail(self) -> None:
        """Before anything is sent."""
        with ScriptedSmtpServer(credentials=("app", "hunter2")) as server:
            found = check(mailing(server, email_host_user="app", email_host_password=SecretStr("hunter2")))
            assert server.sessions == 0
        assert steps(found) == {"auth": FAIL}
        assert "EMAIL_TLS" in found["smtp/auth"].fix
        assert found["hazards/credentials"].status is FAIL

    def test_a_port_where_nobody_listens_fails(self) -> None:
        """The finding has the address, and the fix the usual ports."""
        with ScriptedSmtpServer() as server:
            pass
        finding = check(mailing(server))["smtp/connect"]
        assert finding.status is FAIL
        assert finding.detail == f"127.0.0.1:{server.port}: connection refused."
        assert "EMAIL_PORT" in finding.fix
        assert "587" in finding.fix

    def test_the_wrong_kind_of_port_is_explained(self, certificates: Certificates) -> None:
        """Client and server wait for each other until the timeout."""
        with ScriptedSmtpServer(ssl_context=certificates.server, implicit=True) as server:
            finding = check(mailing(server, mailctl_smtp_timeout_seconds=0.3))["smtp/connect"]
        assert finding.status is FAIL
        assert "EMAIL_TLS=implicit" in finding.detail

    @pytest.mark.parametrize(
        ("greeting", "answer", "tls", "words"),
        [
            ("* OK [CAPABILITY IMAP4rev1] ready", "", "none", "speaks IMAP, not SMTP"),
            ("+OK POP3 ready", "", "starttls", "speaks POP3, not SMTP"),
            ("", "HTTP/1.1 400 Bad Request", "none", "speaks HTTP, not SMTP"),
            ("", "HTTP/1.1 400 Bad Request", "implicit", "speaks HTTP, not SMTP"),
            ("220 mail.example.org ESMTP", "", "implicit", "EMAIL_TLS=starttls"),
        ],
    )
    def test_a_port_of_another_protocol_is_recognised(
        self, greeting: str, answer: str, tls: str, words: str
    ) -> None:
        """Of a silent one too, which is asked what only an HTTP server answers."""
        with LineServer(greeting, answer=answer) as server:
            settings = mailing(server, email_tls=tls, mailctl_smtp_timeout_seconds=0.3)
            found = check(settings)
        finding = next(each for name, each in found.items() if name in ("smtp/connect", "smtp/tls"))
        assert (finding.status, words in finding.detail) == (FAIL, True), finding
        assert finding.detail.count("speaks") == 1

    @pytest.mark.parametrize(
        ("stage", "reply", "fix"),
        [
            (
                "rcpt",
                "504 5.5.2 <web>: Helo command rejected: need fully-qualified hostname",
                "EMAIL_HELO_NAME",
            ),
            ("rcpt", "554 5.7.1 <ada@example.com>: Relay access denied", "relay"),
            ("mail", "530 5.7.0 Must issue a STARTTLS command first", "EMAIL_TLS"),
            (
                "mail",
                "550 5.7.60 Client does not have permissions to send as this sender",
                "EMAIL_FROM_ADDRESS",
            ),
        ],
    )
    def test_what_an_email_would_meet_is_asked(self, stage: str, reply: str, fix: str) -> None:
        """With the name, the sender and a recipient that an email has."""
        with ScriptedSmtpServer({stage: [Reply(reply)]}) as server:
            finding = check(mailing(server, email_helo_name="web.example.com"))[f"smtp/{stage}"]
            lines = [line for _, who, line in server.log if who == "C"]
        assert (finding.status, reply in finding.detail, fix in finding.fix) == (FAIL, True, True)
        assert lines[0] == "EHLO web.example.com"
        assert lines[1].startswith("MAIL FROM:<noreply@example.com>")
        assert not server.messages

    def test_an_unknown_own_address_says_nothing_about_others(self) -> None:
        """Nobody has to read what is sent to a noreply address."""
        with ScriptedSmtpServer({"rcpt": [Reply("550 5.1.1 no such user")]}) as server:
            finding = check(mailing(server))["smtp/rcpt"]
        assert (finding.status, "--send-test" in finding.detail) == (SKIP, True)

    def test_a_server_that_is_slow_is_not_waited_for(self) -> None:
        """Whatever the timeout of workers is; what the port speaks is looked at meanwhile, not after that."""
        with ScriptedSmtpServer({"banner": lambda _: Stall(600)}) as server:
            finding = check(mailing(server, mailctl_smtp_timeout_seconds=600))["smtp/connect"]
        assert (finding.status, "timed out after 8 s" in finding.detail) == (FAIL, True)
        assert "; workers wait for 600 s" in finding.detail
        assert server.peak_sessions > 1

    def test_a_server_that_greets_late_works(self) -> None:
        """Postfix' postscreen lets strangers wait for 6 s; a connection alone is not waited for so long."""
        with ScriptedSmtpServer({"banner": lambda _: Stall(3.5)}) as server:
            finding = check(mailing(server))["smtp/connect"]
        assert finding.status == OK

    def test_a_host_that_accepts_no_connection_is_not_waited_for(self) -> None:
        """As behind a firewall: here, others have all places of the queue for connections."""
        with ScriptedSmtpServer() as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            places = [socket.socket() for _ in range(4)]
            for place in places:
                place.setblocking(False)
                place.connect_ex(address)
            finding = check(mailing(server, email_port=address[1]))["smtp/connect"]
            for place in places:
                place.close()
        assert (finding.status, "timed out after 3 s at connect: no connection" in finding.detail) == (
            FAIL,
            True,
        )

    def test_connection_greeting_and_ehlo_share_their_time(self) -> None:
        """So that the seconds are true; each of them alone is in time."""
        with ScriptedSmtpServer({"banner": lambda _: Stall(0.3), "ehlo": lambda _: Stall(0.3)}) as server:
            finding = check(mailing(server, mailctl_smtp_timeout_seconds=0.4))["smtp/connect"]
        assert (finding.status, "timed out after 0.4 s at connect" in finding.detail) == (FAIL, True)

    def test_mail_servers_are_looked_at_together(self, tmp_path: Path) -> None:
        """Several that are slow take no longer than one: here each waits for the other."""
        both = threading.Barrier(2)

        def wait_for_the_other(_: object) -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(30)

        with (
            ScriptedSmtpServer({"banner": wait_for_the_other}) as first,
            ScriptedSmtpServer({"banner": wait_for_the_other}) as second,
        ):
            file = tmp_path / "servers.toml"
            file.write_text(
                f'[servers.second]\nhost = "127.0.0.1"\nport = {second.port}\ntls = "none"\n'
                '[[routes]]\nservers = ["default", "second"]\n'
            )
            found = check(mailing(first, mailctl_servers=file))
            both.abort()
        assert (found["smtp/connect"].status, found["smtp/second: connect"].status) == (OK, OK)

    def test_mail_has_the_sender_of_an_email(self) -> None:
        """A server may refuse the bounce address, and not the address that people see."""
        with ScriptedSmtpServer() as server:
            key = SecretStr("a-key-of-the-tests-with-some-length")
            settings = mailing(server, secret_key=key, mailctl_bounce_address="bounces@example.com")
            assert check(settings)["smtp/mail"].status == OK
            assert server.wait_for_line(r"MAIL FROM:<bounces\+[a-z2-7]+@example\.com>")

    @pytest.mark.parametrize(
        ("greeting", "tls", "in_detail"),
        [
            (
                "* OK [CAPABILITY IMAP4rev1] Dovecot ready.",
                "none",
                "speaks IMAP, not SMTP; {port} is usually 587",
            ),
            ("+OK POP3 ready", "starttls", "speaks POP3, not SMTP; {port} is usually 587"),
            (
                "220 mail.example.org ESMTP",
                "implicit",
                "does not speak TLS at once on this port; it may need {tls}",
            ),
        ],
    )
    @pytest.mark.parametrize("is_in_file", [True, False])
    def test_a_wrong_port_of_a_named_server_is_said_with_its_settings(
        self, tmp_path: Path, greeting: str, tls: str, in_detail: str, is_in_file: bool
    ) -> None:
        """Those of the default server are right, and nobody has to correct them."""
        with ScriptedSmtpServer() as first, LineServer(greeting) as second:
            values = {"host": "127.0.0.1", "port": str(second.port), "tls": tls}
            if is_in_file:
                prefix, file = "servers.second.", tmp_path / "servers.toml"
                lines = [f'{name} = "{value}"' for name, value in values.items() if name != "port"]
                table = "\n".join(["[servers.second]", f"port = {second.port}", *lines])
                file.write_text(f'{table}\n[[routes]]\nservers = ["default", "second"]\n')
                settings = mailing(first, mailctl_servers=file)
            else:
                prefix = "MAILCTL_SERVER_SECOND_"
                given = {prefix + name.upper(): value for name, value in values.items()}
                settings = mailing(first)
                settings._server_variables = read_server_variables(given, {}, file=".env")
            names = {name: prefix + (name if is_in_file else name.upper()) for name in values}
            found = check(settings)
        finding = next(each for name, each in found.items() if "second: " in name and each.status == FAIL)
        assert in_detail.format(**names) in finding.detail
        assert "EMAIL_" not in finding.detail + finding.fix

    def test_a_unix_socket_passes_each_step(self, tmp_path: Path) -> None:
        """It is called by its path, as it has no port."""
        path = tmp_path / "mail.sock"
        with ScriptedSmtpServer(path=path) as server:
            found = check(mailing(server, email_host=f"unix:{path}"))
        assert steps(found) == {"connect": OK, "mail": OK, "rcpt": OK, "tls": SKIP, "auth": SKIP}
        assert found["smtp/connect"].detail.startswith(f"unix:{path} answers ")

    def test_a_missing_unix_socket_is_named(self, tmp_path: Path) -> None:
        """With what to look at, which is no firewall."""
        settings = Settings(email_enabled=True, email_host=f"unix:{tmp_path / 'none'}", email_tls="none")
        finding = check(settings)["smtp/connect"]
        assert finding.detail == f"unix:{tmp_path / 'none'}: no such file or directory."
        assert "socket" in finding.fix


class TestSendTest:
    def test_one_message_is_sent(self, certificates: Certificates) -> None:
        """To that address, like any other email."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "hunter2")) as server:
            finding = check(mailing(server, certificates), send_test="ada@example.com")["smtp/send-test"]
            [message] = server.messages
        assert finding.status is OK
        assert finding.detail.startswith("the mail server accepted the message: 250 ")
        assert message.recipients == ("ada@example.com",)
        assert b"Subject: mailctl test message\r\n" in message.data

    @pytest.mark.parametrize(
        ("stage", "reply", "fix"),
        [
            ("rcpt", "550 5.1.1 nobody here", "Try another address."),
            ("mail", "553 5.7.1 not your address", "EMAIL_FROM_ADDRESS"),
        ],
    )
    def test_a_refusal_is_shown_with_the_reply_of_the_server(self, stage: str, reply: str, fix: str) -> None:
        """The fix depends on the stage."""
        with ScriptedSmtpServer({stage: lambda _: Reply(reply)}) as server:
            finding = check(mailing(server), send_test="ada@example.com")["smtp/send-test"]
        assert finding.status is FAIL
        assert finding.detail == f"The mail server did not accept the message: {reply}."
        assert fix in finding.fix

    def test_a_message_without_a_reply_may_have_arrived(self) -> None:
        """The fix is to check the mailbox."""
        with ScriptedSmtpServer({"body": [AcceptThenDrop()]}) as server:
            finding = check(mailing(server), send_test="ada@example.com")["smtp/send-test"]
        assert finding.status is FAIL
        assert "mailbox" in finding.fix
