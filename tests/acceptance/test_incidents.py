"""Incidents, staged with real servers and real workers: `incident` and `why` name the true cause first.

More of them are in `test_true_causes`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trustme

from tests.servers.process import children_of
from tests.smtp_server import AcceptThenDrop, Reply, ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import OnCall
    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import Context

#: One process, which starts soonest.
ALONE = ("-P", "solo", "-c", "1")


def test_no_worker(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """The next step starts one."""
    task_id = desk.send()
    found = desk.why(task_id)
    assert (found["causes"][0]["cause"], found["state"]) == ("no_worker", "queued")
    assert on_call.first(task_id) == ("no_worker", "no_worker")
    assert found["causes"][0]["next_step"] == "mailctl worker"
    assert found["facts"]["on_broker"] == "number 1"


def test_wrong_queue(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """A worker is alive, and takes from another queue; the next step starts one for this."""
    production.worker(*ALONE, "-Q", "reports")
    task_id = desk.send()
    desk.wait_for(lambda: desk.why(task_id)["state"] == "queued")
    [first, *_] = desk.why(task_id)["causes"]
    assert (first["cause"], first["certainty"]) == ("wrong_queue", "certain")
    assert first["next_step"] == "mailctl worker"
    assert on_call.first(task_id) == ("wrong_queue", "wrong_queue")


def test_redis_down(production: Terminal, desk: Desk, on_call: OnCall, redis: RedisServer) -> None:
    """One sentence says so, within the 3 s that any question may take, and what the log knows is there."""
    production.worker(*ALONE)
    redis.stop()
    task_id = desk.send()
    found = desk.why(task_id)
    assert (found["causes"][0]["cause"], found["state"]) == ("broker_down", "pending")
    assert on_call.first(task_id) == ("broker_down", "broker_down")
    assert found["facts"]["workers"]


def test_wrong_smtp_password(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """Also when the circuit has opened, and for an email that was never tried."""
    production.worker(*ALONE, EMAIL_HOST_PASSWORD="not-the-password")
    ids = [desk.send() for _ in range(4)]
    desk.wait_for(lambda: {desk.cause(task_id) for task_id in ids} == {"smtp_auth"}, ids)
    [tried] = [desk.why(task_id) for task_id in ids[:1]]
    assert "EMAIL_HOST_PASSWORD" in tried["causes"][0]["sentence"]
    assert "535" in tried["facts"]["error"]
    desk.wait_for(lambda: any("has not worked" in (desk.why(each)["facts"]["circuit"] or "") for each in ids))
    assert on_call.first(ids[0]) == ("smtp_auth", "smtp_auth")


def test_recipient_refused(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """For good: exit code 1."""
    smtp_server.script["rcpt"] = [Reply("550 5.1.1 no such mailbox")]
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "failed")
    code, [found], _ = desk.run("why", task_id)
    assert (code, found["causes"][0]["cause"]) == (1, "recipient_refused")
    assert "550 5.1.1 no such mailbox" in found["causes"][0]["sentence"]
    assert on_call.first(task_id) == ("recipient_refused", "recipient_refused")
    assert desk.incident()["ok"]  # somebody has mistyped an address


def test_rate_limited_by_the_server(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """A temporary refusal out of policy is a limit, not a dead server."""

    def limit(_: Context) -> Reply:
        return Reply("451 4.7.1 too many messages, slow down")

    smtp_server.script["rcpt"] = limit
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for(lambda: desk.cause(task_id) == "rate_limited", task_id)
    found = desk.why(task_id)
    assert "too many messages" in found["causes"][0]["sentence"]
    assert found["facts"]["next_attempt_at"]
    assert on_call.first(task_id) == ("rate_limited", "rate_limited")


def test_log_from_another_directory(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """The log that was read is named, and the one that has it; on a broker its message gives it away, too."""
    task_id = desk.send()
    desk.go_to(production.folder / "scripts")
    code, [found], _ = desk.run("why", task_id)
    first = found["causes"][0]
    assert (code, first["cause"], first["certainty"]) == (0, "log_elsewhere", "certain")
    assert str(production.folder / ".mailctl") in first["next_step"]
    assert str(production.folder / "scripts") in found["facts"]["log"]
    assert on_call.first(task_id) == ("log_missing", "log_elsewhere")
    assert str(production.folder / ".mailctl") in desk.incident()["problems"][0]["fix"]


def test_scheduled_by_the_clock(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """It waits for its time; that no worker is there yet is told second."""
    task_id = desk.send("--in", "1h")
    found = desk.why(task_id)
    assert [cause["cause"] for cause in found["causes"]][:2] == ["scheduled", "no_worker"]
    assert "scheduled for" in found["causes"][0]["sentence"]
    production.worker(*ALONE)
    assert on_call.first(task_id) == ("scheduled", "scheduled")
    assert desk.incident()["ok"]


def test_lease_of_a_dead_worker(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """Killed while the mail server kept it waiting: the email is safe, and it is said until when it waits."""
    smtp_server.script["banner"] = [Stall(60)]
    worker = production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "sending")
    assert desk.cause(task_id) == "in_hand"
    worker.kill()
    found = desk.why(task_id)
    assert found["causes"][0]["cause"] == "lease_of_dead_worker"
    assert found["causes"][0]["next_step"] == "mailctl worker"
    assert found["facts"]["lease_until"]
    assert on_call.first(task_id) == ("lease_of_dead_worker", "lease_of_dead_worker")


def test_email_enabled_is_false(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """What was written to a file has not been sent, and the next step sends it."""
    production.worker(*ALONE, EMAIL_ENABLED="False")
    task_id = desk.send()
    desk.wait_for_state(task_id, "captured")
    first = desk.why(task_id)["causes"][0]
    assert (first["cause"], first["next_step"]) == (
        "captured",
        "mailctl send welcome --email zoe@example.com",
    )
    assert "EMAIL_ENABLED is False" in first["sentence"]
    assert on_call.first(task_id) == ("captured", "captured")


def test_migrations_are_behind(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """Nothing works before the schema is that of the installed version."""
    desk.send()
    with closing(sqlite3.connect(production.folder / ".mailctl" / "mailctl.db")) as log, log:
        log.execute("UPDATE mailctl_version SET version_num = '0013'")
    assert on_call.first()[0] == "log"
    [first] = desk.incident()["problems"]
    assert "schema 0013" in first["sentence"]
    assert "mailctl db upgrade" in first["fix"]


def test_wrong_segment(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """A campaign to a list of long dead addresses."""
    smtp_server.script["rcpt"] = lambda _: Reply("550 5.1.1 no such mailbox")
    rows = "".join(f"u{number}@d{number}.example\n" for number in range(12))
    (production.folder / "users.csv").write_text(f"email\n{rows}")
    production.worker(*ALONE)
    recorded = ("send", "welcome", "--users-file", "users.csv", "--campaign", "spring")
    task_id = desk.run(*recorded)[1][0]["task_id"]
    desk.wait_for(lambda: desk.run("campaign", "show", "spring")[1][0]["failed"] == 12)
    assert on_call.first(task_id) == ("campaign_failing", "recipient_refused")


def test_worker_killed_for_its_memory(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """It did not sign off: when it was last seen is known."""
    worker = production.worker(*ALONE)
    worker.kill()
    task_id = desk.send()
    assert on_call.first(task_id) == ("no_worker", "no_worker")
    assert "has not signed off" in desk.incident()["problems"][0]["sentence"]


def test_pool_process_killed_for_its_memory(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """The worker lives on: another process sends the email again, however young the one was that died."""
    smtp_server.script["banner"] = [Stall(60), Stall(60)]
    worker = production.worker("-c", "1", MAILCTL_LEASE_SECONDS="3600")
    task_id = desk.send()
    desk.wait_for(lambda: smtp_server.sessions == 1)
    [child] = children_of(worker.process.pid)
    os.kill(child, signal.SIGKILL)
    desk.wait_for(lambda: smtp_server.sessions == 2)
    assert on_call.first(task_id) == ("process_died", "process_died")
    worker.wait_until_printed("a process of the pool died while sending 1 email")


def test_mail_server_has_no_address(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """Its name is misspelt, or DNS does not work."""
    production.set(EMAIL_HOST="mail.nosuch.invalid")
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "deferred")
    assert on_call.first(task_id) == ("mail_server_down", "mail_server_down")
    assert "mail.nosuch.invalid" in desk.incident()["problems"][0]["sentence"]


def test_certificate_has_expired(production: Terminal, desk: Desk, on_call: OnCall, tmp_path: Path) -> None:
    """That of the mail server."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "old.pem"))
    with ScriptedSmtpServer(ssl_context=context) as server:
        production.set(EMAIL_PORT=server.port, EMAIL_CA_FILE=tmp_path / "old.pem")
        production.worker(*ALONE)
        task_id = desk.send()
        desk.wait_for_state(task_id, "deferred")
        assert on_call.first(task_id) == ("smtp_tls", "smtp_tls")
        assert "expired" in desk.incident()["problems"][0]["sentence"]


def test_wrong_users_database(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """Emails to user ids cannot be recorded; others go out."""
    production.set(DATABASE_URL="postgresql://app:secret@127.0.0.1:1/shop")
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "sent")
    assert on_call.first(task_id) == ("users_unavailable", "accepted")
    assert "secret" not in str(desk.incident())


def test_template_without_its_link(production: Terminal, desk: Desk, on_call: OnCall) -> None:
    """The file of the service is named, before anybody gets an email."""
    folder = production.folder / "templates"
    folder.mkdir()
    (folder / "reset.html").write_text("<p>Hello {{ username }}, reset your password.</p>")
    production.set(MAILCTL_TEMPLATES=folder)
    production.worker(*ALONE)
    assert on_call.first()[0] == "template"
    assert "the template does not use reset_url" in desk.incident()["problems"][0]["sentence"]


def test_two_copies(
    production: Terminal, desk: Desk, on_call: OnCall, smtp_server: ScriptedSmtpServer
) -> None:
    """The mail server took the first and did not say so."""
    smtp_server.script["body"] = [AcceptThenDrop()]
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "sent")
    assert on_call.first(task_id) == ("possible_copies", "accepted")
    assert "may have arrived up to 2 times" in desk.why(task_id)["causes"][0]["sentence"]
    [listed] = desk.run("list", "--maybe-sent", "--attempts", ">1")[1]
    assert listed["task_id"] == task_id


def test_redis_hangs(production: Terminal, desk: Desk, on_call: OnCall, redis: RedisServer) -> None:
    """It accepts connections, and answers nothing."""
    production.worker(*ALONE)
    redis.freeze()
    try:
        task_id = desk.send()
        assert on_call.first(task_id) == ("broker_down", "broker_down")
    finally:
        redis.thaw()
