"""Messages of another app on a queue that mailctl consumes are kept for that app, and never deleted."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from celery import Celery
from pydantic import SecretStr

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.shared_queues import find_foreign_workers
from mailctl.broker.unclaimed import UnclaimedMessages
from mailctl.celery_app import create_celery_app
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RabbitServer, RedisServer

DATA = Path(__file__).parent.parent / "data"
QUEUE = "celery"
#: Longer than any test.
FOR_EVER = 600.0
QUORUM_APP = """
from mailctl.celery_app import create_celery_app
from mailctl.settings import Settings

app = create_celery_app(Settings.load())
app.conf.task_default_queue_type = "quorum"
"""


class Yard:
    """A terminal in production, and another app on the same broker.

    Args:
        terminal: where both run.
        broker: its address.
        queue_type: of AMQP; None on Redis.
    """

    def __init__(self, terminal: Terminal, broker: str, queue_type: str | None) -> None:
        self.terminal = terminal
        self.queue_type = queue_type
        shutil.copy(DATA / "warehouse.py", terminal.folder)
        terminal.environment["WAREHOUSE_BROKER"] = broker
        terminal.set(CELERY_BROKER_URL=broker)
        if queue_type:
            terminal.environment["WAREHOUSE_QUEUE_TYPE"] = queue_type
        if queue_type == "quorum":
            (terminal.folder / "quorum_app.py").write_text(QUORUM_APP)
            terminal.set(MAILCTL_APP="quorum_app:app")
        #: The app of mailctl's worker.
        self.own = create_celery_app(Settings(celery_broker_url=SecretStr(broker)))
        self.own.loader.import_default_modules()
        self.client = Celery("client", broker=broker, set_as_current=False)
        self.client.conf.task_default_queue_type = queue_type or "classic"
        if queue_type:  # so that a published message can be read at once
            self.client.conf.broker_transport_options = {"confirm_publish": True}

    def publish(self, number: int = 3, **options: Any) -> list[str]:
        """Publish jobs of the other app, and return their ids."""
        return [
            self.client.send_task(
                "warehouse.ship",
                args=[order, "straße\x00"],
                headers={"carrier": "post"},
                priority=3,
                expires=3600,
                **options,
            ).id
            for order in range(number)
        ]

    def worker(self, *delays: float, **bounds: int) -> Window:
        """Start a worker of mailctl with one slot."""
        schedule = json.dumps({"delays": delays, **bounds})
        window = self.terminal.open(
            sys.executable, "-m", "tests.foreign_worker", schedule, name="worker", PYTHONPATH=_ROOT
        )
        window.wait_until_printed("ready.")
        return window

    def warehouse(self) -> Window:
        """Start the worker of the other app."""
        command = ("-m", "celery", "-A", "warehouse", "worker", "-P", "solo", "-n", "other@%h")
        return self.terminal.open(sys.executable, *command, name="warehouse")

    @property
    def done(self) -> list[dict[str, Any]]:
        """Return the jobs that the other app has executed."""
        file = self.terminal.folder / "done.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def ready(self, queue: str = QUEUE) -> int:
        """Return how many messages no worker has taken."""
        return BrokerInspector(self.client).depth(queue).ready

    @property
    def unclaimed(self) -> int:
        """Return the number of unclaimed messages of the queue."""
        return UnclaimedMessages(self.client).counts([QUEUE]).get(QUEUE, 0)

    @property
    def other_workers(self) -> list[str]:
        """Return the workers of other apps on the queue that answer."""
        found = find_foreign_workers(self.own, [QUEUE], BrokerInspector(self.own).queues_by_worker())
        return [node.partition("@")[0] for sharing in found for node in sharing.workers]

    def messages(self, queue: str) -> list[Any]:
        """Return the messages of a queue in order of delivery, and leave them there."""
        with self.client.connection_for_read() as connection:
            channel = connection.default_channel
            channel.auto_decode = False
            if not self.queue_type:
                keys = [channel._q_for_pri(queue, step) for step in channel.priority_steps]
                return [json.loads(raw) for key in keys for raw in channel.client.lrange(key, 0, -1)[::-1]]
            found = list(iter(lambda: channel.basic_get(queue), None))
            for message in found:  # of which the queue has just taken note
                message.headers.pop("x-delivery-count", None)
            return [(bytes(message.body), message.properties) for message in found]


class Milliseconds(amqp.Message):  # type: ignore[misc]
    """A message with header timestamps in milliseconds, where AMQP expects seconds."""

    MOMENT = datetime(2026, 11, 28, tzinfo=UTC)
    SECONDS = int(MOMENT.timestamp())

    def _serialize_properties(self) -> bytes:
        octets: bytes = super()._serialize_properties()
        return octets.replace(struct.pack(">Q", self.SECONDS), struct.pack(">Q", self.SECONDS * 1000))


def _id_of(message: Any) -> str:
    properties = message["properties"] if isinstance(message, dict) else message[1]
    return str(properties["correlation_id"])


_ROOT = str(DATA.parent.parent)


@pytest.fixture(params=["redis", "classic", "quorum"])
def yard(request: pytest.FixtureRequest, production: Terminal, redis: RedisServer) -> Iterator[Yard]:
    """Redis, and RabbitMQ with either kind of queue."""
    if request.param == "redis":
        yard = Yard(production, redis.url, None)
    else:
        yard = Yard(production, request.getfixturevalue("rabbit_url"), request.param)
    yield yard
    yard.client.close()
    yard.own.close()


def test_jobs_wait_for_the_worker_of_their_app(yard: Yard) -> None:
    """It executes each of them once and unchanged; emails are sent in the meantime."""
    ids = yard.publish()
    worker = yard.worker(*[0.2] * 200)
    email = yard.terminal.send("welcome", "--email", "zoe@example.com")
    yard.terminal.wait_for(email, "sent")
    worker.wait_until_printed("(3 of 200)")
    warehouse = yard.warehouse()
    warehouse.wait_until(lambda: len(yard.done) >= 3)
    assert sorted(each["id"] for each in yard.done) == sorted(ids)
    assert [(each["note"], each["carrier"]) for each in yard.done] == [("straße\x00", "post")] * 3
    assert sorted(each["order"] for each in yard.done) == [0, 1, 2]
    warehouse.wait_until(lambda: yard.other_workers == ["other"])
    assert worker.stop() == 0
    if not yard.queue_type:  # elsewhere nobody can look at what waits
        assert (
            "queue 'celery' is shared: messages of other apps wait in it, 3 for 'warehouse" in worker.output
        )
    assert "straße" not in worker.output
    assert "Traceback" not in worker.output


def test_jobs_that_a_killed_worker_held_are_not_lost(yard: Yard) -> None:
    """They do not take its only slot from emails."""
    ids = yard.publish()
    worker = yard.worker(FOR_EVER)
    worker.wait_until(lambda: not yard.ready())
    email = yard.terminal.send("welcome", "--email", "zoe@example.com")
    yard.terminal.wait_for(email, "sent")
    assert yard.done == []
    worker.kill()
    warehouse = yard.warehouse()
    warehouse.wait_until(lambda: len(yard.done) >= 3)
    assert sorted({each["id"] for each in yard.done}) == sorted(ids)


def test_unclaimed_jobs_are_moved_aside_unchanged_and_restored(yard: Yard) -> None:
    """Body, headers and properties stay the same; a restored job is requeued as often as a new one.

    Jobs that take turns may overtake each other; those moved aside come back in their order there.
    """
    ids = yard.publish(expiration=3600)
    published = yard.messages(QUEUE)
    worker = yard.worker(0.1, 0.1, 0.1)
    worker.wait_until(lambda: yard.unclaimed == 3)
    assert yard.ready() == 0
    aside = yard.messages(f"{QUEUE}.unclaimed")
    assert sorted(aside, key=_id_of) == sorted(published, key=_id_of)
    for turn in ("(1 of 3)", "(2 of 3)", "(3 of 3)"):
        assert turn in worker.output
    assert "moved messages of other apps from queue 'celery' to 'celery.unclaimed'" in worker.output
    assert worker.stop() == 0
    assert UnclaimedMessages(yard.client).restore(QUEUE) == 3
    assert (yard.unclaimed, yard.messages(QUEUE)) == (0, aside)
    yard.worker(FOR_EVER).wait_until(lambda: not yard.ready())
    assert yard.unclaimed == 0
    assert len(ids) == 3


@pytest.mark.parametrize("yard", ["redis"], indirect=True)
def test_a_long_queue_of_jobs_does_not_fill_the_memory(yard: Yard) -> None:
    """Overflow messages are requeued at once, and emails behind them are sent."""
    yard.publish(150)
    yard.worker(FOR_EVER, max_messages=5)
    email = yard.terminal.send("welcome", "--email", "zoe@example.com")
    yard.terminal.wait_for(email, "sent")
    # Beside those that are kept, a hundred may be on their way back.
    assert yard.ready() >= 40


@pytest.mark.parametrize("yard", ["redis"], indirect=True)
def test_a_stopping_worker_returns_the_jobs_that_it_held(yard: Yard, redis: RedisServer) -> None:
    """They are unchanged, at the head of the queue."""
    yard.publish()
    published = yard.messages(QUEUE)
    worker = yard.worker(FOR_EVER)
    with redis.client() as client:
        worker.wait_until(lambda: client.hlen("unacked") == 3)
    assert worker.stop() == 0
    assert yard.messages(QUEUE) == published


@pytest.mark.parametrize("yard", ["redis"], indirect=True)
def test_jobs_with_the_same_tag_survive_a_killed_worker(yard: Yard, redis: RedisServer) -> None:
    """Each is stored by itself, and restored to the queue that it came from."""
    yard.publish()
    with redis.client() as client:
        published = [json.loads(raw) for raw in client.lrange(f"{QUEUE}\x06\x163", 0, -1)]
        for each in published:
            each["properties"] |= {
                "delivery_tag": "the-same",
                "delivery_info": {"exchange": "topics", "routing_key": "warehouse.ship"},
            }
        client.flushdb()
        for each in published:
            client.lpush(QUEUE, json.dumps(each))
        worker = yard.worker(FOR_EVER)
        worker.wait_until(lambda: client.hlen("unacked") == 3)
        worker.kill()
        with yard.client.connection_for_read() as connection:
            channel = connection.default_channel
            for tag in client.hkeys("unacked"):
                channel.qos.restore_by_tag(tag.decode())
        assert (client.hlen("unacked"), yard.ready()) == (0, 3)
    worker = yard.worker(0.1)
    worker.wait_until(lambda: yard.unclaimed == 3)


def publish_to_exchange(yard: Yard, client: Redis) -> dict[str, Any]:
    """Publish a job as if through an exchange of topics; return its message."""
    yard.publish(1)
    [message] = yard.messages(QUEUE)
    message["properties"]["delivery_info"] = {"exchange": "topics", "routing_key": "warehouse.ship"}
    client.flushdb()
    client.lpush(f"{QUEUE}\x06\x163", json.dumps(message))
    return message


@pytest.mark.parametrize("yard", ["redis"], indirect=True)
def test_a_job_that_a_killed_worker_held_reaches_its_app_unchanged(yard: Yard, redis: RedisServer) -> None:
    """Redis keeps the original message, which the worker of its app restores."""
    with redis.client() as client:
        message = publish_to_exchange(yard, client)
        worker = yard.worker(FOR_EVER)
        worker.wait_until(lambda: client.hlen("unacked") == 1)
        worker.kill()
        [stored] = client.hvals("unacked")
    assert json.loads(stored) == [message, "", QUEUE]
    yard.warehouse().wait_until(lambda: bool(yard.done))
    assert [each["way"] for each in yard.done] == [["topics", "warehouse.ship"]]


@pytest.mark.parametrize("yard", ["redis"], indirect=True)
def test_a_job_is_requeued_with_its_own_tag_and_routing_key(yard: Yard, redis: RedisServer) -> None:
    """Those that the worker gives it are for the time that it holds the job."""
    with redis.client() as client:
        message = publish_to_exchange(yard, client)
    worker = yard.worker(0.1)
    worker.wait_until(lambda: yard.unclaimed == 1)
    assert yard.messages(f"{QUEUE}.unclaimed") == [message]


@pytest.mark.parametrize("yard", ["classic"], indirect=True)
def test_jobs_with_undecodable_headers_and_properties_are_moved_aside_once(
    yard: Yard, rabbit_server: RabbitServer
) -> None:
    """Each keeps its body and all decodable headers, and does not block those behind it."""
    other = f"other-{uuid.uuid4().hex}"
    rabbit_server.control("add_user", other, other)
    host = yard.client.connection().virtual_host
    rabbit_server.control("set_permissions", "-p", host, other, ".*", ".*", ".*")
    troublesome: dict[str, dict[str, Any]] = {
        "key": {"application_headers": {b"caf\xe9": "x", "carrier": "post"}},
        "timestamp": {"application_headers": {"sent": Milliseconds.MOMENT, "carrier": "post"}},
        "user": {"application_headers": {"carrier": "post"}, "user_id": other},
        "copies": {"application_headers": {"CC": ["victim"], "carrier": "post"}},
        "plain": {"application_headers": {"carrier": "post"}},
    }
    address = yard.client.conf.broker_url.replace("guest:guest@", f"{other}:{other}@")
    with yard.client.connection_for_write(address) as connection:
        channel = connection.default_channel
        for queue in (QUEUE, "victim"):
            channel.queue_declare(queue, durable=True, auto_delete=False)
        for name, properties in troublesome.items():
            message = Milliseconds(name.encode(), content_type="text/plain", **properties)
            channel.basic_publish_confirm(message, routing_key=QUEUE)
    worker = yard.worker(0.1, 0.1)
    worker.wait_until(lambda: yard.unclaimed == len(troublesome))
    assert worker.stop() == 0
    assert yard.ready("victim") == 1
    aside = {body.decode(): properties for body, properties in yard.messages(f"{QUEUE}.unclaimed")}
    assert aside.keys() == troublesome.keys()
    assert {properties["application_headers"]["carrier"] for properties in aside.values()} == {"post"}
    assert aside["timestamp"]["application_headers"]["sent"] == Milliseconds.SECONDS * 1000
    assert aside["copies"]["application_headers"]["mailctl_cc"] == ["victim"]
    assert UnclaimedMessages(yard.client).restore(QUEUE) == len(troublesome)
    assert (yard.ready("victim"), yard.unclaimed) == (1, 0)
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("yard", ["classic"], indirect=True)
def test_an_email_with_an_undecodable_header_is_sent(yard: Yard) -> None:
    """Its other headers are not lost."""
    task_id = str(uuid.uuid4())
    headers = {"task": "send_welcome_email_task", "id": task_id, "sent": Milliseconds.MOMENT}
    user = {"id": 7, "email": "zoe@example.com", "username": "zoe"}
    worker = yard.worker(FOR_EVER)
    with yard.client.connection_for_write() as connection:
        body = json.dumps([[], {"user_data": user}, {}])
        email = Milliseconds(
            body, content_type="application/json", content_encoding="utf-8", application_headers=headers
        )
        connection.default_channel.basic_publish_confirm(email, routing_key=QUEUE)
    yard.terminal.wait_for(task_id, "sent")
    assert worker.stop() == 0
