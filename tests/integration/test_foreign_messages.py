"""Messages of other apps are reported by commands, restored, and counted in the log."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.broker.messages import BATCH_TASK
from mailctl.delivery_log.foreign_messages import RETENTION, ForeignMessages
from mailctl.settings import GROUPS_QUEUE
from mailctl.worker.foreign_messages.schedule import RequeueSchedule
from tests.integration.commands import Mailctl, welcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.integration.commands import Ran

UNCLAIMED = "celery.unclaimed"
NASTY = "warehouse.ship\x1b]52;c;Zm9v\x07" + "x" * 200


@pytest.fixture(params=["redis_url", "rabbit_url"])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty broker in production: Redis, RabbitMQ."""
    url = str(request.getfixturevalue(request.param))
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", "an-integration-test-secret-key-of-some-length")
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    return url


@pytest.fixture
def client(broker: str) -> Iterator[Celery]:
    """Another app, which has unclaimed messages."""
    with Celery("client", broker=broker, set_as_current=False) as app:
        for order in range(3):
            app.send_task("warehouse.ship", args=[order], queue=UNCLAIMED, headers={"carrier": "post"})
        yield app


def finding(ran: Ran, name: str) -> dict[str, Any] | None:
    """Return a finding of `check-config`; None if there is no such finding."""
    return next((each for each in ran.lines[0]["checks"] if each["name"] == name), None)


def taken(app: Celery, queue: str) -> list[Any]:
    """Remove all messages from a queue, and return them."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        found = iter(lambda: channel.basic_get(queue, no_ack=True), None)
        return [channel.message_to_python(message) for message in found]


def test_unclaimed_messages_are_reported_and_restored(mailctl: Mailctl, client: Celery, broker: str) -> None:
    """`queue list`, `health` and `check-config` name the command, which asks first and keeps the order."""
    assert mailctl("db", "upgrade").code == 0
    listed = next(each for each in mailctl("queue", "list", "--json").lines if each["queue"] == "celery")
    assert listed["unclaimed"] == 3
    assert "3 unclaimed" in mailctl("queue", "list").out
    health = mailctl("health")
    assert "unclaimed: 3 messages of other apps in 'celery.unclaimed'" in health.out
    assert "mailctl queue restore celery" in health.out
    found = finding(mailctl("check-config", "--json"), "unclaimed")
    assert found is not None
    assert (found["status"], "mailctl queue restore celery" in found["fix"]) == ("warn", True)
    planned = mailctl("queue", "restore", "--dry-run", "--json")
    assert planned.lines == [{"schema": "mailctl/1", "queue": "celery", "unclaimed": 3, "restored": 0}]
    assert mailctl("queue", "restore", "celery").code == 4
    with client.connection_for_write() as connection:
        client.amqp.queues["celery"].bind(connection.default_channel).declare()
    restored = mailctl("queue", "restore", "--yes", "--json")
    assert restored.lines == [{"schema": "mailctl/1", "queue": "celery", "unclaimed": 3, "restored": 3}]
    messages = taken(client, "celery")
    assert [message.decode()[0] for message in messages] == [[0], [1], [2]]
    assert {message.headers["carrier"] for message in messages} == {"post"}
    again = mailctl("queue", "restore", "--yes")
    assert (again.code, again.err) == (0, "There are no unclaimed messages.\n")


@pytest.mark.parametrize("broker", ["rabbit_url"], indirect=True)
def test_unclaimed_messages_of_a_missing_queue_stay_unclaimed(mailctl: Mailctl, client: Celery) -> None:
    """Publishing them would lose them."""
    ran = mailctl("queue", "restore", "--yes")
    assert (ran.code, "no queue 'celery'" in ran.err) == (3, True)
    assert len(taken(client, UNCLAIMED)) == 3


@pytest.mark.parametrize("broker", ["redis_url"], indirect=True)
def test_waiting_messages_of_another_app_are_reported(mailctl: Mailctl, client: Celery) -> None:
    """Their task names are printed without control characters; emails and canaries do not count."""
    welcome(mailctl)
    assert finding(mailctl("check-config", "--json"), "shared queue") is None
    client.send_task(NASTY)
    client.send_task("warehouse.count")
    client.send_task("warehouse.count")
    found = finding(mailctl("check-config", "--json"), "shared queue")
    assert found is not None
    assert "3 for 'warehouse.count' x2, 'warehouse.ship\\x1b]52" in found["detail"]
    assert len(found["detail"]) < 350
    assert "CELERY_QUEUE_DEFAULT=mailctl" in found["fix"]


@contextmanager
def plain_worker(url: str, folder: Path) -> Iterator[None]:
    """Run a worker of a service that has one email task of its own, and none of mailctl's."""
    (folder / "plain_shop.py").write_text(
        "from celery import Celery\n"
        f"app = Celery('plain', broker={url!r})\n"
        "@app.task(name='send_password_reset_email_task')\n"
        "def reset(user_data, reset_url): ...\n"
    )
    options = ("-P", "solo", "-n", "plain@host", "-l", "INFO", "--without-mingle", "--without-gossip")
    options += ("-Q", f"celery,{GROUPS_QUEUE}")
    command = [sys.executable, "-m", "celery", "-A", "plain_shop", "worker", *options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        assert process.stdout is not None
        assert any("ready." in line for line in process.stdout)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield
        process.terminate()


def test_a_worker_that_discards_emails_is_found(mailctl: Mailctl, broker: str, tmp_path: Path) -> None:
    """It consumes their queue without their task: `check-config` fails, and `why` names it."""
    email_id = welcome(mailctl)
    with plain_worker(broker, tmp_path):
        checked = mailctl("check-config", "--json")
        [why] = mailctl("why", email_id, "--json").lines
    found = finding(checked, "unregistered task")
    assert found is not None
    assert (found["status"], "'plain@host'" in found["detail"]) == ("fail", True)
    assert "send_welcome_email_task" in found["detail"]
    assert BATCH_TASK in found["detail"]
    assert "send_password_reset_email_task" not in found["detail"]
    assert "mailctl.tasks" in found["fix"]
    first = why["causes"][0]
    assert (first["cause"], "plain@host" in first["sentence"]) == ("unregistered_task", True)


def test_requeues_are_counted_by_message_across_restarts(engine: Engine) -> None:
    """A message that was moved aside, or not requeued for a day, starts again at 0."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    log = ForeignMessages(engine, clock=lambda: now[0])
    log.record_requeues(["a", "b", "a"])
    log.record_requeues(["a"])
    assert ForeignMessages(engine).requeue_counts(["a", "b", "c"]) == {"a": 2, "b": 1}
    log.forget(["a"])
    assert log.requeue_counts(["a", "b"]) == {"b": 1}
    now[0] += RETENTION + timedelta(seconds=1)
    log.record_requeues(["c"])
    assert log.requeue_counts(["a", "b", "c"]) == {"c": 1}


def test_the_default_delays_are_1_10_and_60_seconds() -> None:
    """A worker that is about to start receives the message, and no worker spins."""
    schedule = RequeueSchedule()
    assert [schedule.delay_seconds(rounds) for rounds in range(5)] == [1.0, 10.0, 60.0, None, None]
    assert (schedule.max_messages, schedule.max_bytes) == (1000, 64 * 1024 * 1024)
