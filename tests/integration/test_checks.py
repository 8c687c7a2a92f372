"""The checks of `check-config` against real servers: Redis, PostgreSQL, a mail server and a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from mailctl.checks.finding import Finding, FindingStatus, is_ok
from mailctl.checks.run_checks import run_checks
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.servers import FEW_ATTEMPTS, HangUpServer, LineServer, RedisServer, free_port
from tests.smtp_server import (
    AcceptThenDrop,
    Certificates,
    Reply,
    ScriptedSmtpServer,
    Stall,
    test_certificates,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK, WARN, FAIL, SKIP = FindingStatus
#: Seconds that a worker may take to start.
PATIENCE = 120


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change into an empty folder, with an environment without settings."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a server's certificate from it."""
    return test_certificates(tmp_path_factory.mktemp("certificates"))


class ClusterNode(RedisServer):
    """A node of Redis Cluster, without other nodes."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]


def check(settings: Settings, *, send_test: str | None = None) -> dict[str, Finding]:
    """Run all checks; return the findings by "group/name"."""
    findings = run_checks(settings, send_test=send_test)
    return {f"{finding.group}/{finding.name}": finding for finding in findings}


def on_redis(url: str, **changes: Any) -> Settings:
    """Return settings for production with Redis at `url`."""
    sound: dict[str, Any] = {
        "debug": False,
        "redis_url": SecretStr(url),
        "secret_key": SecretStr("a-secret-key-of-the-service-that-is-long"),
        "frontend_url": "https://app.example.org",
        "email_from_address": "noreply@shop.internal",
        "project_name": "Shop",
    }
    return Settings(**{**sound, **changes})


def mailing(
    server: ScriptedSmtpServer | LineServer, certificates: Certificates | None = None, **changes: Any
) -> Settings:
    """Return settings for a mail server; with certificates over STARTTLS, signed in."""
    usual: dict[str, Any] = {
        "email_enabled": True,
        "email_host": "127.0.0.1",
        "email_port": server.port,
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


class TestBroker:
    def test_redis_answers(self, redis_url: str) -> None:
        """So does the result backend; each finding has the round trip."""
        found = check(on_redis(redis_url))
        for name in ("broker", "results"):
            assert found[f"broker/{name}"].status is OK
            assert found[f"broker/{name}"].detail.startswith(f"{redis_url} answers")
            assert found[f"broker/{name}"].detail.endswith(" ms")
        assert found["broker/maxmemory-policy"].status is OK
        assert is_ok(found.values())

    def test_a_redis_that_evicts_messages_is_a_warning(self, tmp_path: Path) -> None:
        """The fix is the command that changes it."""
        with RedisServer(tmp_path / "redis") as server:
            client = server.client()
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.close()
            finding = check(on_redis(server.url))["broker/maxmemory-policy"]
        assert finding.status is WARN
        assert finding.detail == "A full Redis deletes messages and results (allkeys-lru)."
        assert "CONFIG SET maxmemory-policy noeviction" in finding.fix

    def test_redis_cluster_is_named_as_unsupported(self, tmp_path: Path) -> None:
        """Celery would fail later, with an error about slots."""
        with ClusterNode(tmp_path / "redis") as server:
            finding = check(on_redis(server.url))["broker/cluster-enabled"]
        assert (finding.status, "sentinel://" in finding.fix) == (FAIL, True)

    def test_a_redis_that_forbids_config_is_no_fault(self, tmp_path: Path) -> None:
        """Hosted servers do."""
        with RedisServer(tmp_path / "redis") as server:
            client = server.client()
            client.execute_command("ACL", "SETUSER", "default", "-config")
            client.close()
            found = check(on_redis(server.url))
        assert found["broker/broker"].status is OK
        assert found["broker/maxmemory-policy"].status is SKIP

    def test_a_redis_that_hangs_up_is_tried_few_times(self) -> None:
        """Celery itself would retry for 20 s; everything else is checked nevertheless."""
        with HangUpServer() as server:
            found = check(on_redis(f"redis://127.0.0.1:{server.port}/0"))
        assert server.connections <= 2 * FEW_ATTEMPTS
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)
        assert "REDIS_HOST" in found["broker/broker"].fix
        assert "broker/maxmemory-policy" not in found
        assert found["templates/welcome"].status is OK

    def test_a_redis_that_is_silent_is_not_waited_for(self, tmp_path: Path) -> None:
        """It accepts connections, but does not answer."""
        with RedisServer(tmp_path / "redis") as server:
            server.freeze()
            found = check(on_redis(server.url))
            server.thaw()
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)

    def test_a_wrong_password_fails_and_is_not_shown(self, tmp_path: Path) -> None:
        """Neither the wrong one nor the right one."""
        with RedisServer(tmp_path / "redis", password="right-password") as server:
            url = server.url.replace("right-password", "wrong-password")
            found = check(on_redis(url))
            assert check(on_redis(server.url))["broker/broker"].status is OK
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)
        assert not [word for word in ("right-password", "wrong-password") if word in repr(found)]


class TestLog:
    def test_a_log_on_a_server_gets_its_tables_later(self, postgres_url: str) -> None:
        """The check creates none; once they exist, they are current."""
        settings = Settings(mailctl_database_url=SecretStr(postgres_url))
        assert "creates it" in check(settings)["log/schema"].detail
        assert "creates it" in check(settings)["log/schema"].detail
        Runtime(settings).close()
        found = check(settings)
        assert found["log/schema"].detail.endswith("is current")
        assert found["log/emails"].detail == "none yet"

    def test_a_log_on_a_server_that_is_down_fails(self) -> None:
        """Its password is not shown."""
        url = f"postgresql+asyncpg://app:hunter2@127.0.0.1:{free_port()}/mail"
        found = check(Settings(mailctl_database_url=SecretStr(url)))
        assert found["log/database"].status is FAIL
        assert "hunter2" not in repr(found)
        assert found["workers/alive"].status is SKIP

    def test_users_on_a_server_that_is_down_fail(self) -> None:
        """Like the commands that look them up."""
        url = f"postgresql://127.0.0.1:{free_port()}/shop"
        assert check(Settings(database_url=SecretStr(url)))["users/directory"].status is FAIL


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
        """Whatever the timeout of workers is."""
        with ScriptedSmtpServer({"banner": [Stall(600)]}) as server:
            finding = check(mailing(server, mailctl_smtp_timeout_seconds=600))["smtp/connect"]
        assert finding.status is FAIL


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


class TestWorkers:
    def test_a_worker_is_found_whether_it_shares_the_log_or_not(self, redis_url: str, tmp_path: Path) -> None:
        """If it does not, that is a hazard: its outcomes are missing in the log."""
        settings = on_redis(redis_url, mailctl_home=tmp_path / "web")
        assert check(settings)["workers/alive"].status is WARN
        with celery_worker(redis_url, home=tmp_path / "worker"):
            apart = wait_for_worker(settings)
            together = check(settings.model_copy(update={"mailctl_home": tmp_path / "worker"}))
        assert apart["workers/queue celery"].status is OK
        assert "do not share this delivery log" in apart["hazards/SQLite log"].detail
        assert together["workers/alive"].detail == "1: mail@test on celery"
        assert "hazards/SQLite log" not in together


@contextmanager
def celery_worker(redis_url: str, *, home: Path) -> Iterator[None]:
    """Run a worker of mailctl's app in another process, with a delivery log in `home`."""
    environment = {
        "PATH": os.environ["PATH"],
        "DEBUG": "False",
        "SECRET_KEY": "a-secret-key-of-the-service-that-is-long",
        "REDIS_URL": redis_url,
        "MAILCTL_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", "celery", "-A", "mailctl.celery_app", "worker"]
    process = subprocess.Popen(
        [*command, "--pool=solo", "--hostname=mail@test", "--without-gossip", "--without-mingle"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for_worker(settings: Settings) -> dict[str, Finding]:
    """Repeat the checks until a worker is alive; return the findings."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = check(settings)
        if found["workers/alive"].status is OK:
            return found
        assert time.monotonic() < deadline, found["workers/alive"]
