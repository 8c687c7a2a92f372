"""Redis records a message as unacknowledged in the step in which it is taken: a crash loses none."""

from __future__ import annotations

import json
import time
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker import state
from redis.exceptions import ReadOnlyError, ResponseError

from mailctl.worker import redis_list_watch
from mailctl.worker.foreign_messages.unreadable_bytes import preserve_unreadable_bytes
from tests.integration.redis_worker import OWN_TASK, PATIENCE, QUEUE, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import RedisServer

UNREADABLE = b"\xff{"


class Broker:
    """A Redis, and the workers on it."""

    def __init__(self, server: RedisServer, url: str) -> None:
        self.server = server
        self.url = url
        self.client = server.client()
        self._workers: list[Worker] = []

    def worker(self, *, user: str = "", **options: Any) -> Worker:
        """Return a worker."""
        worker = Worker(
            self.url.replace("redis://", f"redis://{user}:{user}@" if user else "redis://"), **options
        )
        self._workers.append(worker)
        return worker

    def publish(self, *, queue: str = QUEUE, priority: int = 0) -> None:
        """Publish a message for a task of the service."""
        self._workers[0].app.send_task(OWN_TASK, queue=queue, priority=priority, ignore_result=True)

    def reply_unread(self, worker: Worker) -> None:
        """Let a worker request a message, and Redis reply with one; the worker does not read that."""
        worker.consume()
        worker.channel.connection.cycle.on_poll_start()
        deadline = time.monotonic() + PATIENCE
        while self.held() != (1, 1, 1):
            assert time.monotonic() < deadline

    def add_user(self, name: str, rule: str) -> str:
        """Add a user of Redis who may do everything but one thing."""
        self.client.acl_setuser(
            name, enabled=True, passwords=[f"+{name}"], keys=["*"], channels=["*"], commands=["+@all", rule]
        )
        return name

    def commands(self, name: str) -> int:
        """Return how often a command was executed."""
        return int(self.client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])

    def held(self, prefix: str = "") -> tuple[int, int, int]:
        """Return how many messages are unacknowledged: in the hash, the index and the heartbeats."""
        index = f"{prefix}unacked_index"
        return (
            int(self.client.hlen(f"{prefix}unacked")),
            int(self.client.zcard(index)),
            int(self.client.zcard(f"{index}_mailctl")),
        )

    def close(self) -> None:
        """Close everything."""
        for worker in self._workers:
            worker.close()
        self.client.close()


@pytest.fixture
def broker(redis_server: RedisServer, redis_url: str) -> Iterator[Broker]:
    """An empty Redis."""
    broker = Broker(redis_server, redis_url)
    broker.client.config_resetstat()
    yield broker
    broker.close()


@pytest.fixture
def only_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker looks at its lists only when Redis has reported a change."""
    monkeypatch.setattr(redis_list_watch, "_LONGEST_WAIT", 1000.0)


def wait_for(worker: Worker, condition: Callable[[], bool]) -> None:
    """Let a worker work until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        worker.step()


def test_what_redis_sends_to_a_worker_that_dies_is_not_lost(broker: Broker) -> None:
    """The message has left its queue, and nobody has received it."""
    dead = broker.worker()
    broker.publish()
    broker.reply_unread(dead)
    assert broker.client.llen(QUEUE) == 0
    stored, *where = json.loads(broker.client.hvals("unacked")[0])
    assert (stored["headers"]["task"], where) == (OWN_TASK, ["", QUEUE])
    assert dead.taken == []


def test_two_channels_of_a_worker_do_not_return_what_the_other_one_receives(broker: Broker) -> None:
    """A service may have a consumer of its own beside that of Celery."""
    worker = broker.worker()
    second = worker.connection.channel()
    for number in range(3):
        broker.publish()
        broker.publish(queue="events")
        if not number:
            worker.consume()
            second.basic_consume("events", no_ack=False, callback=worker.taken.append, consumer_tag="events")
        worker.receive(2 * number + 2)
        worker.restore()
    assert broker.held() == (6, 6, 6)
    assert (broker.client.llen(QUEUE), broker.client.llen("events")) == (0, 0)


def test_a_consumer_that_acknowledges_nothing_leaves_no_record(broker: Broker) -> None:
    """Its messages would be delivered again and again."""
    worker = broker.worker()
    worker.channel.basic_consume(QUEUE, no_ack=True, callback=worker.taken.append, consumer_tag="t")
    broker.publish()
    worker.receive()
    wait_for(worker, lambda: broker.held() == (0, 0, 0))
    assert broker.client.llen(QUEUE) == 0


def test_a_message_that_another_channel_puts_back_leaves_no_record(broker: Broker) -> None:
    """kombu does that with a reply that comes after its consumer was cancelled."""
    worker = broker.worker()
    second = worker.connection.channel()
    broker.publish(queue="events")
    second.basic_consume("events", no_ack=False, callback=worker.taken.append, consumer_tag="events")
    worker.channel.connection.cycle.on_poll_start()
    assert second._in_poll
    second.basic_cancel("events")
    wait_for(worker, lambda: not second._in_poll)
    assert (broker.client.llen("events"), broker.held(), worker.taken) == (1, (0, 0, 0), [])


def test_lost_messages_are_looked_for_once_for_each_connection(broker: Broker) -> None:
    """However many there are: otherwise connecting would take longer and longer."""
    worker = broker.worker()
    worker.consume()
    for _ in range(20):
        worker.channel.connection.cycle.on_poll_start()
        worker.channel._in_poll.disconnect()
    asked = broker.commands("hget")
    worker.reconnect()
    for _ in range(3):
        worker.connection.channel()
    # Once when the worker connects, and once when it looks for unacknowledged messages.
    assert broker.commands("hget") - asked == 2 * 20


@pytest.mark.parametrize("junk", [UNREADABLE, b"[" * 100_000 + b"]" * 100_000], ids=["bytes", "deep"])
def test_unreadable_bytes_that_were_sent_to_a_lost_connection_are_moved_aside(
    broker: Broker, junk: bytes
) -> None:
    """The worker connects again all the same."""
    worker = broker.worker()
    broker.client.lpush(QUEUE, junk)
    broker.reply_unread(worker)
    worker.channel._in_poll.disconnect()
    worker.reconnect()
    assert broker.client.lrange(f"{QUEUE}.unclaimed", 0, -1) == [junk]
    assert broker.held() == (0, 0, 0)


@pytest.mark.parametrize("ends", [False, True])
def test_a_command_that_reaches_redis_after_its_connection_is_lost(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """The message that it records returns when the worker looks again, and when it ends."""
    worker = broker.worker()
    worker.consume()
    worker.channel.connection.cycle.on_poll_start()
    late = worker.channel.mailctl_pop._command([QUEUE])
    worker.channel._in_poll.disconnect()
    worker.reconnect()
    broker.publish()
    broker.client.execute_command(*late)
    assert (broker.client.llen(QUEUE), broker.held()) == (0, (1, 1, 1))
    if ends:
        monkeypatch.setattr(state, "should_stop", 0)
        worker.connection.release()
    else:
        worker.restore()
    assert (broker.client.llen(QUEUE), broker.held()) == (1, (0, 0, 0))


def test_what_redis_sends_to_a_lost_connection_returns_with_the_next_one(broker: Broker) -> None:
    """At once: the worker knows that it has not received it."""
    worker = broker.worker()
    broker.publish()
    broker.reply_unread(worker)
    worker.channel._in_poll.disconnect()
    worker.reconnect()
    assert (broker.client.llen(QUEUE), broker.held()) == (1, (0, 0, 0))
    assert worker.take().headers["task"] == OWN_TASK


@pytest.mark.usefixtures("only_reports")
@pytest.mark.parametrize("prefix", ["", "shop."])
def test_a_worker_with_empty_lists_takes_nothing_until_redis_reports_a_change(
    broker: Broker, prefix: str
) -> None:
    """Of any list, of any priority. BRPOP, with which a message could be lost, is never executed."""
    worker = broker.worker(global_keyprefix=prefix)
    worker.consume(QUEUE, "bulk")
    for _ in range(3):
        worker.step()
    assert broker.commands("eval") == 1
    for number, (queue, priority) in enumerate([(QUEUE, 0), ("bulk", 9), ("bulk", 3), (QUEUE, 6)], start=1):
        wanted = broker.commands("eval") + 2
        broker.publish(queue=queue, priority=priority)
        worker.receive(number)
        wait_for(worker, lambda wanted=wanted: broker.commands("eval") >= wanted)  # type: ignore[misc]
        assert broker.held(prefix) == (number, number, number)
    assert broker.commands("brpop") == 0
    for message in worker.taken:
        message.ack()
    assert broker.held(prefix) == (0, 0, 0)


def test_a_worker_does_not_look_for_each_message_that_others_take(broker: Broker) -> None:
    """Redis reports all of them."""
    worker = broker.worker()
    worker.consume()
    begun = time.monotonic()
    for _ in range(500):
        broker.client.lpush(QUEUE, b"taken at once")
        broker.client.rpop(QUEUE)
        worker.step()
    looks = (time.monotonic() - begun) / redis_list_watch._SHORTEST_WAIT
    assert broker.commands("eval") <= looks + 2


@pytest.mark.usefixtures("only_reports")
def test_a_lost_connection_for_reports_is_opened_again(broker: Broker) -> None:
    """No message waits for it."""
    worker = broker.worker()
    worker.consume()
    wait_for(worker, lambda: broker.commands("eval") == 1)
    [reports] = [each for each in broker.client.client_list() if each["cmd"] in {"subscribe", "client|id"}]
    broker.client.client_kill_filter(_id=reports["id"])
    wait_for(worker, lambda: broker.commands("eval") == 2)
    broker.publish()
    worker.receive()


@pytest.mark.usefixtures("only_reports")
def test_a_connection_for_reports_that_is_lost_in_silence_is_replaced(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What drops an idle connection may tell only Redis, or neither side."""
    worker = broker.worker()
    worker.consume()
    wait_for(worker, lambda: broker.commands("eval") == 1)
    watch = worker.channel.mailctl_pop._watch
    worker.hub.remove_reader(watch._reports._sock.fileno())  # type: ignore[union-attr]
    for each in broker.client.client_list():
        if each["redir"] not in {"-1", "0"}:
            broker.client.client_kill_filter(_id=each["redir"])
    monkeypatch.setattr(redis_list_watch, "_LONGEST_WAIT", 0.1)
    monkeypatch.setattr(redis_list_watch, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(redis_list_watch, "_REPLY_SECONDS", 0.3)
    lost = watch._reports
    wait_for(worker, lambda: watch._reports not in {None, lost})
    broker.publish()
    worker.receive()


def test_a_worker_on_a_replica_hears_of_it_while_there_are_no_messages(broker: Broker) -> None:
    """As with BRPOP, so that it connects to the new master soon."""
    worker = broker.worker()
    worker.consume()
    broker.client.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(ReadOnlyError):
            wait_for(worker, lambda: False)
    finally:
        broker.client.replicaof("NO", "ONE")


def test_an_unreadable_message_that_cannot_be_moved_aside_stays_unacknowledged(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not keep the worker from returning others."""
    broker.worker()
    worker = broker.worker(user=broker.add_user("limited", "-lpush"))
    preserve_unreadable_bytes(worker.channel)
    broker.client.lpush(QUEUE, UNREADABLE)
    broker.publish()
    worker.consume()
    worker.receive()
    worker.restore()
    assert "it stays unacknowledged" in caplog.text
    assert broker.held() == (2, 2, 2)


@pytest.mark.parametrize("rule", ["-eval", "-client|tracking", "-lindex", "-rpop"])
def test_brpop_remains_where_redis_does_not_allow_it(
    broker: Broker, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages are taken as kombu takes them, each once, and the worker says what that means."""
    broker.worker()
    worker = broker.worker(user=broker.add_user("limited", rule))
    broker.publish()
    worker.consume()
    worker.receive()
    assert broker.commands("brpop") > 0
    assert "a worker that is killed may lose a message that it has just taken" in caplog.text
    worker.taken[0].ack()
    assert broker.held() == (0, 0, 0)


def test_a_redis_that_is_out_of_memory_keeps_the_message_in_its_queue(broker: Broker) -> None:
    """The worker connects again later."""
    worker = broker.worker()
    broker.publish()
    worker.consume()
    broker.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError):
            wait_for(worker, lambda: bool(worker.taken))
    finally:
        broker.client.config_set("maxmemory", 0)
    assert (broker.client.llen(QUEUE), broker.held()[0]) == (1, 0)


def test_a_message_that_kombu_cannot_restore_is_recorded_as_repaired(broker: Broker) -> None:
    """Under the tag that it already has."""
    worker = broker.worker()
    broker.client.lpush(QUEUE, json.dumps({"body": "", "headers": None, "properties": {"priority": 1.5}}))
    worker.consume()
    message = worker.receive()
    [(tag, stored)] = broker.client.hgetall("unacked").items()
    assert (tag.decode(), json.loads(stored)[0]["headers"]) == (message.delivery_tag, {})
    message.ack()
    assert broker.held() == (0, 0, 0)


def test_a_channel_that_is_closed_again_has_nothing_to_return(broker: Broker) -> None:
    """kombu does that after an error, also before the consumer has its guards."""
    worker = broker.worker()
    worker.consume()
    channel = worker.channel
    del channel._get_pool
    channel.connection.cycle.on_poll_start()
    channel._in_poll.disconnect()
    channel.connection.cycle.on_poll_start()  # the first request is lost with its connection
    channel.close()
    channel.close()


def test_unreadable_bytes_are_moved_aside_with_their_record(broker: Broker) -> None:
    """No worker restores them later."""
    worker = broker.worker()
    preserve_unreadable_bytes(worker.channel)
    broker.client.lpush(QUEUE, UNREADABLE)
    broker.worker()
    broker.publish()
    worker.consume()
    worker.receive()
    assert broker.client.lrange(f"{QUEUE}.unclaimed", 0, -1) == [UNREADABLE]
    assert broker.held() == (1, 1, 1)


def test_unreadable_bytes_that_are_dropped_leave_no_record(broker: Broker) -> None:
    """Where nothing moves them aside."""
    worker = broker.worker()
    broker.client.lpush(QUEUE, UNREADABLE)
    broker.publish()
    worker.consume()
    worker.receive()
    assert broker.held() == (1, 1, 1)


def test_a_worker_that_ends_returns_what_redis_has_sent_meanwhile(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read when the channel closes."""
    worker = broker.worker()
    broker.publish()
    broker.reply_unread(worker)
    monkeypatch.setattr(state, "should_stop", 0)
    worker.connection.release()
    assert (broker.client.llen(QUEUE), broker.held()) == (1, (0, 0, 0))


def test_what_is_kept_of_a_command_does_not_grow_with_the_orders_of_the_queues(broker: Broker) -> None:
    """kombu may ask for them in any order; each list comes with the name of its own queue."""
    pop = broker.worker().channel.mailctl_pop
    names = ["a", "b", "c"]
    for order in permutations(names):
        _, _, count, *rest = pop._command(list(order))
        queues = [json.loads(queue) for queue in rest[count + 3 :]]
        assert [key.decode().split("\x06\x16")[0] for key in rest[: len(queues)]] == queues
    assert sorted(pop._lists) == names
