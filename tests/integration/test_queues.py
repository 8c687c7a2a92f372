"""`queue list` and `queue peek`: the log and a real Redis, with messages of others, and without a broker."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl import runtime
from mailctl.broker.inspector import BrokerInspector
from mailctl.domain.states import State
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import BrokerUnavailable
from tests.servers import FEW_ATTEMPTS, HangUpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl

    Run = Callable[..., tuple[int, list[dict[str, Any]], str]]

USER = {"id": 9, "username": "zoe", "email": "zoe@example.com", "first_name": "Zoe"}


@pytest.fixture
def run(mailctl: Mailctl) -> Run:
    """Runs a command in an empty folder; returns its exit code, its objects and its talk."""

    def run_for_objects(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        ran = mailctl(*arguments, "--json")
        return ran.code, ran.lines, ran.err

    return run_for_objects


@pytest.fixture
def on_redis(run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with an empty Redis as the broker."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
    monkeypatch.setenv("REDIS_URL", redis_url)
    return run


@pytest.fixture
def client(redis_url: str) -> Iterator[Celery]:
    """A plain Celery client that knows nothing of mailctl."""
    with Celery("client", broker=redis_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"queue_order_strategy": "priority"}
        yield app


@pytest.fixture
def on_rabbit(run: Run, rabbit_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with RabbitMQ as the broker of a service's app, which has published four messages itself."""
    monkeypatch.setenv("MAILCTL_APP", "ownapp:app")
    source = (
        f"from celery import Celery\napp = Celery('ownapp', broker={rabbit_url!r}, set_as_current=False)\n"
        "app.conf.task_default_queue = 'shop'\n"
    )
    (tmp_path / "ownapp.py").write_text(source)
    with Celery("publisher", broker=rabbit_url, set_as_current=False) as app:
        for _ in range(4):
            app.send_task("send_welcome_email_task", kwargs={"user_data": USER}, queue="shop")
    return run


def test_messages_that_the_broker_only_counts_are_counted(on_rabbit: Run) -> None:
    """RabbitMQ shows no message without handing it over; neither command says that the queue is empty.

    The app names the queue, although neither a worker nor the log does.
    """
    _, listed, _ = on_rabbit("queue", "list")
    assert [(each["queue"], each["foreign"]) for each in listed] == [("shop", 4), ("mailctl.bulk", 0)]
    publish(send(on_rabbit))
    _, listed, _ = on_rabbit("queue", "list")
    [found] = [each for each in listed if each["queue"] == "shop"]
    assert (found["broker"]["ready"], found["foreign"], found["depth"]) == (5, 4, 1)
    code, entries, talk = on_rabbit("queue", "peek")
    assert (code, len(entries)) == (0, 1)
    assert "4 messages without an email in the delivery log" in talk
    _, checks, _ = on_rabbit("monitor", "--max-depth", "3", "--min-workers", "0")
    [messages] = [each for each in checks[0]["checks"] if each["name"] == "messages"]
    assert (messages["value"], messages["ok"]) == (4, False)
    _, [checked], _ = on_rabbit("check-config")
    [found] = [each["detail"] for each in checked["checks"] if each["name"] == "messages"]
    assert found.startswith(
        "Queue 'shop' has 5 messages on the broker that no worker has taken, and this log"
    )
    assert "1 published email:" in found


def send(run: Run, *arguments: str) -> str:
    """Record an email and return its id."""
    code, [sent], talk = run("send", "welcome", "--email", "max@example.com", *arguments)
    assert code == 0, talk
    return str(sent["task_id"])


def publish(email_id: str) -> None:
    """Publish an email as a relay does, if a broker that took longer than half a second does not have it."""
    parts = runtime.current()
    for _ in range(60):
        [email] = parts.history.emails([email_id])
        if email.state is not State.PENDING:
            break
        with suppress(BrokerUnavailable), closing(Publisher(parts)) as publisher:
            publisher.publish_all([email])


def queue(run: Run, name: str = "celery") -> dict[str, Any]:
    """Return what `queue list` says of a queue."""
    _, queues, _ = run("queue", "list")
    return next(each for each in queues if each["queue"] == name)


class TestInMemory:
    def test_the_log_tells_all(self, run: Run) -> None:
        """Nobody can look into the memory of a worker, and nobody needs to."""
        send(run)
        send(run)
        send(run, "--in", "1h")
        found = queue(run)
        assert (found["depth"], found["pending"], found["scheduled"], found["queued"]) == (2, 2, 1, 0)
        assert (found["workers"], found["broker"], found["seconds_to_empty"]) == (0, None, None)

    def test_what_comes_next_is_in_order_and_masked(self, run: Run) -> None:
        """As many as are wished for; what is scheduled is not next."""
        ids = [send(run), send(run), send(run)]
        send(run, "--in", "1h")
        code, waiting, _ = run("queue", "peek", "-n", "2")
        assert code == 0
        assert [each["task_id"] for each in waiting] == ids[:2]
        assert [(each["position"], each["to"], each["attempts"]) for each in waiting] == [
            (1, "m…@example.com", 0),
            (2, "m…@example.com", 0),
        ]

    def test_an_empty_queue_is_no_error(self, run: Run) -> None:
        """It is said on standard error."""
        run("db", "upgrade")
        code, waiting, talk = run("queue", "peek", "mailctl.bulk")
        assert (code, waiting, "Queue 'mailctl.bulk' is empty" in talk) == (0, [], True)


class TestOnRedis:
    def test_messages_of_others_are_counted(self, on_redis: Run, client: Celery) -> None:
        """They wait in the same queue, beside its depth: the log has no email for them yet."""
        send(on_redis)
        client.send_task("send_welcome_email_task", kwargs={"user_data": USER})
        found = queue(on_redis)
        assert (found["depth"], found["queued"], found["seconds_to_empty"]) == (1, 1, None)
        assert found["broker"] == {"ready": 2, "unacked": 0, "foreign": 1, "inspected": 2}

    def test_unacknowledged_messages_belong_to_their_queue(self, on_redis: Run, client: Celery) -> None:
        """A worker has them, and they are under way."""
        client.send_task("report.build", queue="reports")
        client.send_task("report.build", queue="reports")
        with client.connection_for_read() as connection:
            consumer = connection.SimpleQueue("reports", no_ack=False)
            consumer.get(timeout=5)
            found = queue(on_redis, "reports")
            consumer.close()
        assert (found["depth"], found["in_flight"]) == (0, 1)
        assert (found["broker"]["ready"], found["broker"]["unacked"]) == (1, 1)

    def test_peek_follows_the_lists_of_priorities(self, on_redis: Run, client: Celery) -> None:
        """Joined with the log; no token of a message is shown."""
        ours = send(on_redis)
        link = "https://shop.example/reset-password?t=token-canary"
        late = client.send_task(
            "send_password_reset_email_task", args=[USER], kwargs={"reset_url": link}, priority=9
        )
        other = client.send_task("report.build", priority=3)
        code, waiting, _ = on_redis("queue", "peek")
        assert code == 0
        assert [each["task_id"] for each in waiting] == [ours, other.id, late.id]
        assert [each["kind"] for each in waiting] == ["welcome", "report.build", "reset"]
        assert [each["to"] for each in waiting] == ["m…@example.com", None, "z…@example.com"]
        assert [each["state"] for each in waiting] == ["queued", None, None]
        assert "canary" not in json.dumps(waiting)

    def test_peek_shows_an_email_whose_message_a_worker_holds(self, on_redis: Run, client: Celery) -> None:
        """It has not begun it; those follow whose messages wait."""
        held = send(on_redis)
        with client.connection_for_read() as connection:
            consumer = connection.SimpleQueue("celery")
            consumer.get(timeout=5)
            ready = send(on_redis)
            _, waiting, _ = on_redis("queue", "peek")
            consumer.close()
        assert [each["task_id"] for each in waiting] == [ready, held]

    def test_a_broken_message_is_a_message(self, on_redis: Run, redis_url: str, client: Celery) -> None:
        """Whoever put it there."""
        with client.connection_for_write() as connection:
            connection.default_channel.client.lpush("celery", b"{not json", b"[]", b'{"body": 3}')
        code, waiting, _ = on_redis("queue", "peek")
        assert (code, [each["task_id"] for each in waiting]) == (0, [None, None, None])
        found = queue(on_redis)
        assert (found["depth"], found["broker"]["ready"]) == (0, 3)

    def test_a_campaign_is_found_in_its_batch(
        self, on_redis: Run, client: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One message is for many emails."""
        message = client.send_task("mailctl.deliver_batch", args=[["a1", "b2"]], queue="mailctl.bulk")
        [waiting] = on_redis("queue", "peek", "mailctl.bulk")[1]
        assert (waiting["task_id"], waiting["kind"]) == (message.id, "2 of a campaign")
        found = BrokerInspector(client).find_message("b2", queue="mailctl.bulk")
        assert found.position is not None
        assert (found.position.ahead, found.position.message.task_id) == (0, message.id)


def test_a_broker_that_is_down_is_told_after_what_the_log_knows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, exit code 5, after one attempt for each question."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
    with HangUpServer() as server:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}/0")
        task_id = send(run)
        asked_before = server.connections
        code, queues, talk = run("queue", "list")
    assert server.connections - asked_before <= FEW_ATTEMPTS
    assert (code, queues[0]["queue"], queues[0]["depth"], queues[0]["broker"]) == (5, "celery", 1, None)
    assert talk.count("\n") == 1
    code, waiting, _ = run("queue", "peek")
    assert (code, [each["task_id"] for each in waiting]) == (5, [task_id])


def test_other_brokers_tell_what_they_can(tmp_path: Path) -> None:
    """Nobody can look at messages there; they are counted."""
    app = Celery("client", broker="filesystem://", set_as_current=False)
    folder = str(tmp_path)
    app.conf.broker_transport_options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
    }
    app.send_task("report.build", queue="reports")
    found = BrokerInspector(app).inspect_queues(["reports"])["reports"]
    assert (found.ready, found.messages, found.unacked) == (1, None, None)
    search = BrokerInspector(app).find_message("x", queue="reports")
    assert (search.position, search.is_complete) == (None, False)
    app.close()
