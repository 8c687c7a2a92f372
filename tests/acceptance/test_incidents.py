"""Ten incidents, staged with real servers and real workers: `why` names the true cause first in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.smtp_server import Reply, Stall

if TYPE_CHECKING:
    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import Context, ScriptedSmtpServer

#: One process, which starts soonest.
ALONE = ("-P", "solo", "-c", "1")


def test_no_worker(production: Terminal, desk: Desk) -> None:
    """The next step starts one."""
    found = desk.why(desk.send())
    assert (found["causes"][0]["cause"], found["state"]) == ("no_worker", "queued")
    assert found["causes"][0]["next_step"] == "mailctl worker"
    assert found["facts"]["on_broker"] == "number 1"


def test_wrong_queue(production: Terminal, desk: Desk) -> None:
    """A worker is alive, and takes from another queue; the next step starts one for this."""
    production.worker(*ALONE, "-Q", "reports")
    task_id = desk.send()
    desk.wait_for(lambda: desk.why(task_id)["state"] == "queued")
    [first, *_] = desk.why(task_id)["causes"]
    assert (first["cause"], first["certainty"]) == ("wrong_queue", "certain")
    assert first["next_step"] == "mailctl worker -Q celery"


def test_redis_down(production: Terminal, desk: Desk, redis: RedisServer) -> None:
    """One sentence says so, within the 3 s that any question may take, and what the log knows is there."""
    production.worker(*ALONE)
    redis.stop()
    found = desk.why(desk.send())
    assert (found["causes"][0]["cause"], found["state"]) == ("broker_down", "pending")
    assert found["facts"]["workers"]


def test_wrong_smtp_password(production: Terminal, desk: Desk) -> None:
    """Also when the circuit has opened, and for an email that was never tried."""
    production.worker(*ALONE, EMAIL_HOST_PASSWORD="not-the-password")
    ids = [desk.send() for _ in range(4)]
    desk.wait_for(lambda: {desk.cause(task_id) for task_id in ids} == {"smtp_auth"}, ids)
    [tried] = [desk.why(task_id) for task_id in ids[:1]]
    assert "EMAIL_HOST_PASSWORD" in tried["causes"][0]["sentence"]
    assert "535" in tried["facts"]["error"]
    desk.wait_for(lambda: any("does not work" in (desk.why(each)["facts"]["circuit"] or "") for each in ids))


def test_recipient_refused(production: Terminal, desk: Desk, smtp_server: ScriptedSmtpServer) -> None:
    """For good: exit code 1."""
    smtp_server.script["rcpt"] = [Reply("550 5.1.1 no such mailbox")]
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "failed")
    code, [found], _ = desk.run("why", task_id)
    assert (code, found["causes"][0]["cause"]) == (1, "recipient_refused")
    assert "550 5.1.1 no such mailbox" in found["causes"][0]["sentence"]


def test_rate_limited_by_the_server(
    production: Terminal, desk: Desk, smtp_server: ScriptedSmtpServer
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


def test_log_from_another_directory(production: Terminal, desk: Desk) -> None:
    """The log that was read is named, and the one that has it; on a broker its message gives it away, too."""
    task_id = desk.send()
    desk.go_to(production.folder / "scripts")
    code, [found], _ = desk.run("why", task_id)
    first = found["causes"][0]
    assert (code, first["cause"], first["certainty"]) == (0, "log_elsewhere", "certain")
    assert str(production.folder / ".mailctl") in first["next_step"]
    assert str(production.folder / "scripts") in found["facts"]["log"]


def test_scheduled_by_the_clock(production: Terminal, desk: Desk) -> None:
    """It waits for its time; that no worker is there yet is told second."""
    found = desk.why(desk.send("--in", "1h"))
    assert [cause["cause"] for cause in found["causes"]][:2] == ["scheduled", "no_worker"]
    assert "scheduled for" in found["causes"][0]["sentence"]


def test_lease_of_a_dead_worker(production: Terminal, desk: Desk, smtp_server: ScriptedSmtpServer) -> None:
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


def test_email_enabled_is_false(production: Terminal, desk: Desk) -> None:
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
