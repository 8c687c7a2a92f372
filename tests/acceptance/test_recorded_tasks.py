"""A service that keeps its own email tasks: the log knows what became of each, and none is sent twice."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.terminal import Terminal, Window
    from tests.smtp_conversation import Action, Context

SHOP = Path(__file__).parent.parent / "data" / "recorded_shop.py"
NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"


class Shop:
    """The service: its folder, its broker and its mail server."""

    def __init__(self, terminal: Terminal, smtp: ScriptedSmtpServer) -> None:
        self.terminal, self.smtp = terminal, smtp

    def worker(self, *arguments: str, **environment: str) -> Window:
        """Start the service's own worker, as it was before mailctl."""
        command = (sys.executable, "-m", "celery", "-A", "recorded_shop", "worker", "-l", "INFO", *arguments)
        window = self.terminal.open(*command, name="celery", **environment)
        window.wait_until_printed("ready.")
        return window

    def publish(self, *calls: str, **environment: str) -> list[str]:
        """Run calls of the service's code, such as `send_async.delay("x")`; return the ids of their tasks."""
        called = ", ".join(calls)
        code = f"from recorded_shop import *; note('ids', *(result.id for result in [{called}]))"
        window = self.terminal.open(sys.executable, "-c", code, name="web", **environment)
        assert window.wait() == 0, window.output
        return (self.terminal.folder / "ids.txt").read_text().split()

    def call(self, call: str, state: str) -> dict[str, Any]:
        """Publish one call, and wait until its email is in a state."""
        [task_id] = self.publish(call)
        return self.wait_for(task_id, state)

    def wait_for(self, task_id: str, state: str) -> dict[str, Any]:
        """Wait until an email is in a state."""
        return self.terminal.wait_for(task_id, state)

    @property
    def recipients(self) -> list[str]:
        """The recipients of all messages that the mail server accepted."""
        return sorted(each for message in self.smtp.messages for each in message.recipients)


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """The mail server of the service."""
    with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """An empty broker of each kind."""
    name = {"redis": "redis_url", "rabbitmq": "rabbit_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture
def make_shop(terminal: Terminal, smtp: ScriptedSmtpServer) -> Any:
    """Makes the service on a broker."""

    def make(url: str, **environment: str) -> Shop:
        shutil.copy(SHOP, terminal.folder)
        terminal.environment |= {
            "SHOP_BROKER": url,
            "SHOP_SMTP": str(smtp.port),
            "SHOP_RECORDS": "yes",
            "CELERY_BROKER_URL": url,
            "MAILCTL_APP": "recorded_shop:app",
            "MAILCTL_TASKS": "recorded_shop:TASKS",
            **environment,
        }
        return Shop(terminal, smtp)

    return make


@pytest.fixture
def shop(make_shop: Any, redis_url: str) -> Shop:
    """The service on Redis."""
    return make_shop(redis_url)


def test_what_the_service_sends_is_known(make_shop: Any, broker_url: str) -> None:
    """One line in its code: kind, recipient, the mail server's reply, and the reason why not."""
    shop = make_shop(broker_url)
    shop.smtp.script["rcpt"] = lambda context: "550 5.1.1 no such user" if "gone" in context.line else None
    shop.worker("-c", "1")
    ids = shop.publish(
        "send_reset.delay({'id': 7, 'email': 'zoe@example.com'}, 'https://shop.example/?t=secret-token')",
        "send_reset.delay({'email': 'gone@example.com'}, 'https://shop.example/?t=secret-token')",
        "send_async.delay('ada@example.com')",
        "newsletter.delay(to='eve@example.com')",
        "forget.delay('bob@example.com')",
        "send_by_id.delay(5)",
    )
    shop.wait_for(ids[-1], "sent")  # one after the other
    listed = {each["task_id"]: each for each in shop.terminal.run("list", "--json").lines}
    assert [(listed[each]["kind"], listed[each]["state"], listed[each]["to"]) for each in ids] == [
        ("reset", "sent", "zoe@example.com"),
        ("reset", "failed", "gone@example.com"),
        ("notice", "sent", "ada@example.com"),
        ("newsletter", "sent", "eve@example.com"),
        ("notice", "unconfirmed", "bob@example.com"),
        ("notice", "sent", "user5@example.com"),
    ]
    assert (shop.terminal.folder / "called.txt").exists()
    assert listed[ids[0]]["user_id"] == "7"
    assert listed[ids[0]]["smtp"]["code"] == 250
    assert listed[ids[1]]["reason_code"] == "refused"
    why = shop.terminal.run("why", ids[4])
    assert (why.code, "does not say whether a mail server accepted it" in why.out) == (6, True)
    groups = {
        each["name"]: each for each in shop.terminal.run("stats", "--by", "kind", "--json").data["groups"]
    }
    assert {name: (each["sent"], each["failed"], each["unconfirmed"]) for name, each in groups.items()} == {
        "reset": (1, 1, 0),
        "notice": (2, 0, 1),
        "newsletter": (1, 0, 0),
    }
    stored = b"".join(path.read_bytes() for path in (shop.terminal.folder / ".mailctl").iterdir())
    assert b"secret-token" not in stored


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_every_pool_records(pool: str, shop: Shop) -> None:
    """Tasks run in other processes, in threads, or in the main process."""
    shop.worker("-P", pool, "-c", "2")
    ids = shop.publish(*(f"send_async.delay('user{number}@example.com')" for number in range(4)))
    shop.terminal.wait_for_all(ids, "sent")
    assert shop.recipients == [f"user{number}@example.com" for number in range(4)]


def test_the_worker_of_mailctl_records_without_the_line(shop: Shop) -> None:
    """The service's code does not mention mailctl."""
    shop.terminal.environment["SHOP_RECORDS"] = "no"
    shop.terminal.worker("-c", "1")
    found = shop.call("send_async.delay('zoe@example.com')", "sent")
    assert (found["kind"], found["to"], found["smtp"]["code"]) == ("notice", "zoe@example.com", 250)


def test_each_recipient_of_a_task_has_an_answer(shop: Shop) -> None:
    """The mail server took one of them."""
    shop.smtp.script["rcpt"] = lambda context: "550 5.2.1 disabled" if "bob" in context.line else None
    shop.worker("-c", "1")
    recipients = [{"email": "zoe@example.com"}, {"email": "bob@example.com"}]
    shop.call(f"send_email.delay('Hello', {recipients}, 'message', {{}})", "sent")
    listed = shop.terminal.run("list", "--json").lines
    assert {(each["to"], each["state"]) for each in listed} == {
        ("zoe@example.com", "sent"),
        ("bob@example.com", "failed"),
    }


def test_a_retry_of_the_task_runs_again(make_shop: Any, broker_url: str) -> None:
    """By `self.retry` and by `autoretry_for`; each attempt is in the history."""
    shop = make_shop(broker_url)
    refusals = {"zoe@example.com": 2, "eve@example.com": 2}

    def refuse(context: Context) -> Action:
        address = next(each for each in refusals if each in context.line)
        refusals[address] -= 1
        return "451 4.2.1 later" if refusals[address] >= 0 else None

    shop.smtp.script["rcpt"] = refuse
    shop.worker("-c", "1")
    ids = shop.publish("send_async_email.delay({'to': 'zoe@example.com'})", "flaky.delay('eve@example.com')")
    for found in shop.terminal.wait_for_all(ids, "sent"):
        assert found["attempts"] == 3
        assert [each["state"] for each in found["events"]].count("deferred") == 2
    assert shop.recipients == sorted(refusals)


def test_a_message_that_was_published_twice_is_sent_once(make_shop: Any, broker_url: str) -> None:
    """By its task id; the second run is refused."""
    shop = make_shop(broker_url)
    call = "send_async.apply_async(('zoe@example.com',), task_id='twice-1')"
    shop.publish(call, call, "send_async.apply_async(('last@example.com',), task_id='last-1')")
    worker = shop.worker("-c", "1")
    shop.wait_for("last-1", "sent")
    assert shop.recipients == ["last@example.com", "zoe@example.com"]
    assert "email twice-1: its task is not run: it is sent" in worker.output


def kill_in_task(shop: Shop, file: str) -> int:
    """Kill the process of the pool that has written a file; return its id."""
    path = shop.terminal.folder / f"{file}.pid"
    pid = int(path.read_text())
    path.unlink()
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_process_killed_after_the_acceptance_sends_nothing_again(make_shop: Any, broker_url: str) -> None:
    """The broker delivers the message again; nobody knows the outcome, so the email is held."""
    shop = make_shop(broker_url)
    worker = shop.worker("-c", "1", MAILCTL_LEASE_SECONDS="10")
    [task_id] = shop.publish("dawdle.delay('zoe@example.com')")
    worker.wait_until(lambda: (shop.terminal.folder / "sent.pid").exists())
    kill_in_task(shop, "sent")
    worker.wait_until_printed(f"email {task_id}: its task is not run")
    (shop.terminal.folder / "finish").touch()
    shop.call("send_async.delay('last@example.com')", "sent")
    shop.wait_for(task_id, "held")
    assert shop.recipients == ["last@example.com", "zoe@example.com"]
    why = shop.terminal.run("why", task_id)
    assert "it is unknown whether the service's own task sent it" in why.out


def test_a_process_killed_before_the_acknowledgement_sends_nothing_again(
    make_shop: Any, broker_url: str
) -> None:
    """The outcome is recorded before the message is acknowledged."""
    shop = make_shop(broker_url, SHOP_DAWDLES="after")
    worker = shop.worker("-c", "1")
    [task_id] = shop.publish("send_async.delay('zoe@example.com')")
    worker.wait_until(lambda: (shop.terminal.folder / "ended.pid").exists())
    kill_in_task(shop, "ended")
    worker.wait_until_printed(f"email {task_id}: its task is not run: it is sent")
    assert shop.recipients == ["zoe@example.com"]
    assert shop.terminal.status(task_id)["state"] == "sent"


def test_a_log_that_is_down_disturbs_nothing(shop: Shop) -> None:
    """The service publishes and sends, and reads of it once."""
    down = {"MAILCTL_DATABASE_URL": NOTHING}
    worker = shop.worker("-c", "1", **down)
    calls = [f"send_async.delay('user{number}@example.com')" for number in range(5)]
    shop.publish(*calls, **down)
    shop.smtp.wait_for(5)
    shop.publish("send_async_email.delay({'to': 'last@example.com'})", **down)
    shop.smtp.wait_for(6)
    assert worker.output.count("emails of the service's own tasks are not recorded") <= 2


def test_what_nobody_recorded_is_held_and_what_a_worker_has_is_not(make_shop: Any, broker_url: str) -> None:
    """Without a worker of mailctl: a command says it, and later the recorder in the service's worker."""
    shop = make_shop(broker_url, MAILCTL_LEASE_SECONDS="5")
    busy = shop.worker("-c", "1", "--prefetch-multiplier=4")
    working, waiting = shop.publish("dawdle.delay('ada@example.com')", "send_async.delay('bob@example.com')")
    shop.wait_for(working, "sending")
    blind = shop.worker("-Q", "other", "-P", "solo", "-n", "blind@%h", MAILCTL_DATABASE_URL=NOTHING)
    [silent] = shop.publish("send_async.apply_async(('zoe@example.com',), queue='other')")
    shop.smtp.wait_for(2)
    blind.stop()

    def states() -> dict[str, str]:
        return {each["task_id"]: each["state"] for each in shop.terminal.run("list", "--json").lines}

    busy.wait_until(lambda: states()[silent] == "held")
    assert states()[waiting] == "queued"
    why = shop.terminal.run("why", silent)
    assert "it is unknown whether the service's own task sent it" in why.out
    (shop.terminal.folder / "finish").touch()
    shop.wait_for(waiting, "sent")
    assert shop.recipients == ["ada@example.com", "bob@example.com", "zoe@example.com"]


def test_a_suppressed_email_is_captured_where_that_is_seen(shop: Shop) -> None:
    """FastAPI-Mail's signal says it; nobody claims that it was sent."""
    shop.worker("-P", "solo")
    shop.publish("suppressed.delay('first@example.com')")
    found = shop.call("suppressed.delay('zoe@example.com')", "captured")
    assert found["sent_at"] is None or shop.smtp.messages == []


def test_a_cancelled_email_is_not_sent(shop: Shop) -> None:
    """Its message is on the broker, and its task asks the log first."""
    [cancelled, held] = shop.publish(
        "send_async.delay('no@example.com')", "send_async.delay('later@example.com')"
    )
    assert shop.terminal.run("cancel", cancelled, "--yes").code == 0
    assert shop.terminal.run("hold", held, "--yes").code == 0
    shop.worker("-c", "1")
    shop.call("send_async.delay('last@example.com')", "sent")
    assert shop.recipients == ["last@example.com"]
    assert shop.terminal.run("release", held, "--yes").code == 0
    shop.wait_for(held, "sent")
    assert shop.recipients == ["last@example.com", "later@example.com"]


def test_a_failed_email_is_sent_by_a_retry(shop: Shop) -> None:
    """By the service's own task, with the arguments of the call that failed."""
    shop.smtp.script["rcpt"] = ["451 4.3.0 broken"]
    shop.worker("-c", "1")
    call = "send_reset.delay({'id': 7, 'email': 'zoe@example.com'}, 'https://shop.example/?t=token')"
    found = shop.call(call, "failed")
    assert shop.terminal.run("show", found["task_id"]).code == 0
    assert shop.terminal.run("retry", found["task_id"], "--yes").code == 0
    shop.wait_for(found["task_id"], "sent")
    assert shop.recipients == ["zoe@example.com"]


def test_what_the_broker_did_not_take_is_known(make_shop: Any) -> None:
    """The service's code got the error; the email is there to be retried."""
    shop = make_shop("amqp://guest@127.0.0.1:1//")
    code = (
        "from recorded_shop import *; app.conf.task_publish_retry = False\n"
        "try: send_async.apply_async(('zoe@example.com',), task_id='lost-1')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    window = shop.terminal.open(sys.executable, "-c", code, name="web")
    assert window.wait() == 0, window.output
    assert "OperationalError" in window.output
    [found] = shop.terminal.run("list", "--json").lines
    assert (found["state"], found["reason_code"]) == ("failed", "unpublishable")


def test_what_a_process_publishes_into_its_memory_is_sent(make_shop: Any) -> None:
    """In development: the log carries it to the worker of mailctl, which calls the service's task."""
    shop = make_shop("memory://")
    shop.terminal.worker()
    found = shop.call("send_reset.delay({'email': 'zoe@example.com'}, 'https://shop.example/?t=1')", "sent")
    assert (found["kind"], shop.recipients) == ("reset", ["zoe@example.com"])


def test_a_message_that_the_worker_discards_is_known(shop: Shop) -> None:
    """It has expired before the worker got it."""
    [expired] = shop.publish("send_async.apply_async(('late@example.com',), expires=0.01)")
    shop.worker("-c", "1")
    shop.wait_for(expired, "expired")
    assert shop.recipients == []
