"""A worker whose broker refuses requests, or holds what other programs wrote and kombu does not expect."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import amqp
import pytest

from tests.faults.forms import with_log_in
from tests.faults.site import Site
from tests.fuzz.envelopes import QUEUE, whole

if TYPE_CHECKING:
    import redis

    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RabbitServer, RedisServer
    from tests.smtp_server import ScriptedSmtpServer

pytestmark = pytest.mark.timeout(600)
UNACKED, INDEX, ASIDE = "unacked", "unacked_index", f"{QUEUE}.unclaimed"
REFUSAL = "the broker refuses a request of this worker: "
#: Longer ago than the visibility timeout of mailctl's workers, and than that of Celery's.
QUARTER, HOUR = 1000, 4000
#: Keys that a worker uses, by name: a string takes the place of each.
KEYS = {
    "queue": QUEUE,
    "priority": f"{QUEUE}\x06\x163",
    "campaigns": "mailctl.bulk",
    UNACKED: UNACKED,
    INDEX: INDEX,
}
UNREADABLE = (
    b"\xff not json",
    b"null",
    b"[]",
    b'"abc"',
    b"[1, 2, 3]",
    b'{"a": 1}',
    b"[" * 5000 + b"]" * 5000,
    b'[{"headers": {}, "properties": {"delivery_info": {}}}, "", ["celery"]]',
    b'[{"headers": {}, "properties": {"delivery_info": {}}}, null, null]',
    b'[{"headers": {}, "properties": {"delivery_info": {}, "priority": Infinity}}, "", "celery"]',
)


@pytest.fixture
def client(site: Site) -> redis.Redis:
    return site.redis.client()


def send(client: redis.Redis) -> None:
    """Publish two emails, one for each pool process."""
    for _ in range(2):
        client.lpush(QUEUE, whole().on_redis() or b"")


def wait_for(site: Site, worker: Window, count: int) -> None:
    """Wait until the mail server has taken so many emails."""
    worker.wait_until(lambda: len(site.smtp.messages) >= count)


@with_log_in("sqlite")
@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_the_wrong_type_does_not_stop_a_worker(name: str, site: Site, client: redis.Redis) -> None:
    """It says what Redis refuses, tries again with pauses, and continues when the key is right."""
    worker = site.start_worker("-c", "2", "-l", "INFO")
    send(client)
    wait_for(site, worker, 2)
    worker.wait_until(lambda: not client.hlen(UNACKED))
    client.set(KEYS[name], "no list")
    if name != "queue":
        send(client)
    worker.wait_until(lambda: worker.output.count(f"{REFUSAL}WRONGTYPE") >= 2)
    client.delete(KEYS[name])
    send(client)
    wait_for(site, worker, 4 if name == "queue" else 6)
    worker.wait_until(lambda: not client.llen(QUEUE) and not client.hlen(UNACKED))
    assert "Traceback" not in worker.output
    assert "body" not in worker.output
    assert worker.stop() == 0


def test_a_queue_with_other_properties_does_not_stop_a_worker(
    production: Terminal,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
    rabbit_server: RabbitServer,
    rabbit_url: str,
) -> None:
    """On RabbitMQ it starts, says what is refused, and sends as soon as the queue can be declared."""
    production.set(MAILCTL_HOME=production.folder / ".mailctl", CELERY_BROKER_URL=rabbit_url)
    host, virtual_host = f"127.0.0.1:{rabbit_server.port}", rabbit_url.rpartition("/")[2]
    with (
        Site(production, redis, smtp_server) as site,
        amqp.Connection(host, virtual_host=virtual_host) as connection,
    ):
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-max-priority": 5})
        worker = site.launch_worker("-c", "1", "-l", "INFO")
        worker.wait_until(lambda: worker.output.count(f"{REFUSAL}Queue.declare: (406)") >= 2)
        channel.queue_delete(QUEUE)
        worker.wait_until_printed("ready.")
        channel.basic_publish(whole().on_amqp(), routing_key=QUEUE)
        wait_for(site, worker, 1)
        assert "Traceback" not in worker.output
        assert "Deprecation" not in worker.output
        assert worker.stop() == 0


def hold(client: redis.Redis, stored: bytes | list[Any], *, seconds_ago: float) -> str:
    """Store an unacknowledged message as a worker that was killed since; return its tag."""
    tag = str(uuid.uuid4())
    client.hset(UNACKED, tag, stored if isinstance(stored, bytes) else json.dumps(stored))
    client.zadd(INDEX, {tag: time.time() - seconds_ago})
    return tag


def message(task: str | None = None) -> Any:
    envelope = whole(task) if task else whole()
    return json.loads(envelope.on_redis() or b"")


@with_log_in("postgresql")
def test_unacknowledged_garbage_delays_no_message(site: Site, client: redis.Redis) -> None:
    """It moves aside; what a killed worker held is sent; what is for others stays for their workers."""
    for stored in UNREADABLE:
        hold(client, stored, seconds_ago=QUARTER)
    hold(client, [message(), "", QUEUE], seconds_ago=HOUR)
    elsewhere = hold(client, [message(), "", "parcels"], seconds_ago=HOUR)
    exchanged = hold(client, [message(), "parcels.topic", "parcels.new"], seconds_ago=HOUR)
    running = hold(client, [message("warehouse.ship"), "", QUEUE], seconds_ago=QUARTER)
    left = hold(client, [message("warehouse.pack"), "", QUEUE], seconds_ago=HOUR)
    client.set("_kombu.binding.torn", "no set")
    torn = hold(client, [message(), "torn", QUEUE], seconds_ago=HOUR)
    worker = site.start_worker("-c", "2", "-l", "INFO")
    wait_for(site, worker, 1)
    worker.wait_until(lambda: client.llen(ASIDE) >= len(UNREADABLE))
    assert sorted(client.lrange(ASIDE, 0, -1)) == sorted(UNREADABLE)
    assert {tag.encode() for tag in (elsewhere, exchanged, running, torn)} <= set(client.hkeys(UNACKED))
    assert not client.hexists(UNACKED, left)
    assert "Traceback" not in worker.output
    assert worker.stop() == 0
    assert site.terminal.run("queue", "list").code == 0


@with_log_in("sqlite")
def test_a_question_restores_nothing(site: Site, client: redis.Redis) -> None:
    """Commands that ask workers leave unacknowledged messages where they are, even unreadable ones."""
    tags = {
        hold(client, b"null", seconds_ago=HOUR).encode(),
        hold(client, [message(), "", QUEUE], seconds_ago=HOUR).encode(),
    }
    for command in (["workers"], ["health"], ["queue", "list"], ["check-config"]):
        ran = site.terminal.run(*command)
        assert "Traceback" not in ran.err
        assert set(client.hkeys(UNACKED)) == tags, command
    assert not client.llen(QUEUE)
