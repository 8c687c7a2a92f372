"""Production: a real Redis, a real mail server with STARTTLS and a password, real worker processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.celery_client import ask_worker
from tests.acceptance.conftest import SMTP_PASSWORD
from tests.acceptance.terminal import PATIENCE
from tests.smtp_server import Drop, Reply, ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from celery import Celery

    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RedisServer
    from tests.smtp_server import Certificates

WAREHOUSE = Path(__file__).parent.parent / "data" / "warehouse.py"
ALL_KINDS = (
    ("welcome",),
    ("reset",),
    ("verification",),
    ("new-ip", "--ip", "203.0.113.9"),
)
USER = {"id": 9, "username": "zoe", "email": "zoe@example.com", "first_name": "Zoe"}
LINK = "https://shop.example/{}?t=a-token-that-is-long-enough"
#: Arguments of each wire task, as another program would give them.
MESSAGES: dict[str, dict[str, object]] = {
    "send_email_task": {
        "subject": "Your invoice",
        "recipients": [{"name": "Zoe", "email": "zoe@example.com"}],
        "template_name": "message",
        "context": {"title": "Your invoice", "body": "It is ready."},
    },
    "send_welcome_email_task": {"user_data": USER},
    "send_password_reset_email_task": {"user_data": USER, "reset_url": LINK.format("reset-password")},
    "send_verification_email_task": {"user_data": USER, "verification_url": LINK.format("verify-email")},
    "send_new_ip_notification_task": {
        "user_data": USER,
        "ip_address": "203.0.113.9",
        "whitelist_url": LINK.format("api/v1/ip-access/verify"),
        "blacklist_url": LINK.format("api/v1/ip-access/verify") + "2",
    },
}


def test_every_kind_reaches_the_mail_server_once(
    production: Terminal, smtp_server: ScriptedSmtpServer, client: Celery
) -> None:
    """STARTTLS, AUTH, one copy each, and Celery's own result says SUCCESS."""
    production.worker("-c", "2")
    ids = [production.send(*kind, "--email", "zoe@example.com", "--wait") for kind in ALL_KINDS]
    found = production.statuses(ids)
    assert [status["state"] for status in found] == ["sent"] * 4
    assert [status["celery_state"] for status in found] == ["SUCCESS"] * 4
    message_ids = [message.message_id for message in smtp_server.messages]
    assert sorted(message_ids) == sorted(status["message_id"] for status in found)
    assert [client.AsyncResult(task_id).state for task_id in ids] == ["SUCCESS"] * 4


def test_what_was_sent_before_the_worker_started_goes_out_once(
    production: Terminal, smtp_server: ScriptedSmtpServer
) -> None:
    """The message on the broker carries everything, and the row keeps it from being sent twice."""
    ids = [production.send(*kind, "--email", "zoe@example.com") for kind in ALL_KINDS]
    assert "no worker consumes queue" in production.status(ids[0])["explanation"]
    assert production.run("worker", "--drain").code == 0
    assert {found["state"] for found in production.statuses(ids)} == {"sent"}
    assert len(smtp_server.messages) == 4


def test_another_program_publishes_and_mailctl_sends(
    production: Terminal, smtp_server: ScriptedSmtpServer, client: Celery
) -> None:
    """Names and arguments of the wire are all that it has to know; `status` finds its tasks."""
    production.worker("-c", "1")
    results = [client.send_task(name, kwargs=arguments) for name, arguments in MESSAGES.items()]
    smtp_server.wait_for(5, timeout=PATIENCE)
    production.wait_for_all([result.id for result in results], "sent")
    assert {result.state for result in results} == {"SUCCESS"}
    assert {message.recipients for message in smtp_server.messages} == {("zoe@example.com",)}


@pytest.mark.parametrize(
    "example", [{"EMAIL_FROM_ADDRESS": "noreply@example.com"}, {"PROJECT_NAME": "Example"}, {}]
)
def test_a_worker_warns_of_the_settings_of_examples_before_it_sends(
    production: Terminal, example: dict[str, str]
) -> None:
    """In one line that names the setting; it starts all the same."""
    production.set(**example)
    output = production.worker("-c", "1").output
    warnings = [line for line in output.splitlines() if "WARNING" in line and "check-config" in line]
    assert len(warnings) == len(example)
    assert all(name in warning for name, warning in zip(example, warnings, strict=True))
    assert output.find("WARNING/MainProcess] placeholder settings in production") < output.find("ready.")


def test_a_bad_message_of_another_program_ends_as_failed(production: Terminal, client: Celery) -> None:
    """It neither kills the worker nor blocks the queue."""
    production.worker("-c", "1")
    bad = client.send_task("send_welcome_email_task", kwargs={"user_data": {"email": "x\r\nRCPT TO:<y@z>"}})
    strange = client.send_task("send_password_reset_email_task", args=[3, {"a": 1}])
    good = client.send_task("send_welcome_email_task", args=[USER])
    production.wait_for(good.id, "sent")
    assert "email" in production.wait_for(bad.id, "failed")["error"]
    assert "user_data" in production.wait_for(strange.id, "failed")["error"]


def test_the_mail_server_says_later_twice(production: Terminal, smtp_server: ScriptedSmtpServer) -> None:
    """Deferred, deferred, sent; one copy."""
    smtp_server.script["body"] = [Reply("451 4.3.0 later"), Reply("451 4.3.0 later")]
    production.worker("-c", "1")
    task_id = production.send("welcome", "--email", "zoe@example.com", "--wait")
    states = [event["state"] for event in production.status(task_id)["events"]]
    assert [state for state in states if state in ("deferred", "sent")] == ["deferred", "deferred", "sent"]
    assert len(smtp_server.messages) == 1


def test_the_mail_server_says_never(production: Terminal, smtp_server: ScriptedSmtpServer) -> None:
    """Failed at once, with code and text, and exit 1."""
    smtp_server.script["rcpt"] = [Reply("550 5.1.1 no such mailbox")]
    production.worker("-c", "1")
    result = production.run("send", "welcome", "--email", "zoe@example.com", "--wait", "--json")
    assert result.code == 1
    assert "550 5.1.1 no such mailbox" in result.err
    found = production.status(result.data["task_id"])
    assert (found["state"], found["smtp"]["code"], found["smtp"]["enhanced"]) == ("failed", 550, "5.1.1")
    assert found["celery_state"] == "FAILURE"


def test_the_mail_server_refuses_connections(production: Terminal, smtp_server: ScriptedSmtpServer) -> None:
    """Deferred with the reason, and sent when it is back."""
    smtp_server.stop()
    production.worker("-c", "1")
    task_id = production.send("welcome", "--email", "zoe@example.com")
    assert "connection refused" in production.wait_for(task_id, "deferred")["explanation"]
    smtp_server.start()
    production.wait_for(task_id, "sent")


def test_a_lost_reply_is_told_and_repeated_with_the_same_message_id(
    production: Terminal, smtp_server: ScriptedSmtpServer
) -> None:
    """Nobody can know whether it arrived; the recipient's server can tell that it is the same."""
    smtp_server.script["body"] = [Drop()]
    production.worker("-c", "1")
    task_id = production.send("welcome", "--email", "zoe@example.com", "--wait")
    texts = [event["text"] for event in production.status(task_id)["events"] if event["state"] == "deferred"]
    assert len(texts) == 1
    assert "the mail server may have it already" in texts[0]


def test_a_broker_that_is_down_costs_nothing_but_time(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """The email is recorded, one sentence says why it waits, and it goes out when Redis is back."""
    production.worker("-c", "1")
    redis.stop()
    production.wait_until_relays_notice()
    result = production.run("send", "welcome", "--email", "zoe@example.com", "--json")
    assert (result.code, result.data["state"]) == (0, "pending")
    assert "The email is recorded" in result.err
    assert "Traceback" not in result.err
    redis.start()
    production.wait_for(result.data["task_id"], "sent")
    assert len(smtp_server.messages) == 1


def test_a_worker_killed_while_sending_loses_nothing(
    production: Terminal, smtp_server: ScriptedSmtpServer
) -> None:
    """Its lease runs out, and another worker sends the email."""
    smtp_server.script["banner"] = [Stall(60)]
    production.set(MAILCTL_LEASE_SECONDS=5)
    worker = production.worker("-P", "solo")
    task_id = production.send("welcome", "--email", "zoe@example.com")
    production.wait_for(task_id, "sending")
    worker.kill()
    production.worker("-c", "1")
    found = production.wait_for(task_id, "sent")
    assert len(smtp_server.messages) == 1
    assert any("its worker disappeared" in event["text"] for event in found["events"])


def test_emails_in_hand_are_finished_before_the_worker_stops(
    production: Terminal, smtp_server: ScriptedSmtpServer
) -> None:
    """SIGTERM waits for the mail server's reply."""
    smtp_server.script["body"] = [Stall(6)]
    worker = production.worker("-c", "1")
    task_id = production.send("welcome", "--email", "zoe@example.com")
    production.wait_for(task_id, "sending")
    assert worker.stop() == 0
    assert production.status(task_id)["state"] == "sent"
    assert len(smtp_server.messages) == 1


def worker_of_a_service(production: Terminal, redis: RedisServer, *arguments: str) -> Window:
    """Start a worker in a service's app, where commands are obeyed that mailctl's own app refuses."""
    shutil.copy(WAREHOUSE, production.folder)
    return production.worker(*arguments, MAILCTL_APP="warehouse:app", WAREHOUSE_BROKER=redis.url)


@pytest.mark.parametrize("terminate", [False, True])
def test_an_email_that_celery_revokes_goes_out(
    production: Terminal,
    desk: Desk,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
    client: Celery,
    terminate: bool,
) -> None:
    """Only `mailctl cancel` stops one: without a run of its task the log would publish it for ever."""
    worker_of_a_service(production, redis, "-P", "solo", "-c", "1", "-n", "mail@here", "-Q", "elsewhere")
    revoked, cancelled = desk.send(), desk.send()
    desk.run("cancel", cancelled)
    ask_worker(client, "revoke", task_id=[revoked, cancelled], terminate=terminate)
    ask_worker(client, "add_consumer", queue="celery")
    desk.wait_for_state(revoked, "sent")
    assert desk.run("status", cancelled)[1][0]["state"] == "cancelled"
    assert len(smtp_server.messages) == 1


def test_an_email_that_is_being_sent_is_not_terminated(
    production: Terminal, desk: Desk, redis: RedisServer, certificates: Certificates, client: Celery
) -> None:
    """Its process is not killed, nor is the email, which may have arrived, sent twice."""
    credentials = ("app", SMTP_PASSWORD)
    with ScriptedSmtpServer(
        {"body": [Stall(3)]}, ssl_context=certificates.server, credentials=credentials
    ) as slow:
        production.set(EMAIL_PORT=slow.port)
        window = worker_of_a_service(production, redis, "-P", "prefork", "-c", "1", "-n", "mail@here")
        email = desk.send()
        desk.wait_for_state(email, "sending")
        ask_worker(client, "revoke", task_id=email, terminate=True, signal="SIGKILL")
        window.wait_until_printed("ignored a request to terminate task")
        desk.wait_for_state(email, "sent", "failed")
        assert (desk.run("status", email)[1][0]["attempts"], len(slow.messages)) == (1, 1)
