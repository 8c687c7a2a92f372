"""A message that Redis does not confirm as done is settled later, over another connection; none is lost."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from celery.worker import state
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.integration.redis_worker import EMAIL_TASK, OWN_TASK, QUEUE, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.transport.virtual import Message

    from tests.servers import RedisServer

HEARTBEATS = "unacked_index_mailctl"


@pytest.fixture(params=[True, False], ids=["script", "BRPOP"])
def worker(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Worker]:
    """A worker on a Redis with one message."""
    worker = Worker(redis_url, has_event_loop=request.param)
    worker.app.send_task("mail", queue=QUEUE, ignore_result=True)
    yield worker
    worker.close()


def on_redis(server: RedisServer) -> tuple[int, int, int]:
    """Return how many messages wait, how many are unacknowledged, and how many the index of those has."""
    with server.client() as client:
        return (int(client.llen(QUEUE)), int(client.hlen("unacked")), int(client.zcard("unacked_index")))


@pytest.mark.parametrize("is_requeued", [False, True], ids=["acknowledged", "returned"])
def test_what_redis_does_not_confirm_is_repeated(
    worker: Worker, redis_server: RedisServer, is_requeued: bool
) -> None:
    """The prefetch slot is free meanwhile."""
    message = worker.take()
    qos = message.channel.qos
    qos.prefetch_count = 1
    redis_server.freeze()
    settle = partial(message.reject, requeue=True) if is_requeued else message.ack
    settle()
    assert qos.can_consume()
    redis_server.thaw()
    worker.restore()
    assert on_redis(redis_server) == (int(is_requeued), 0, 0)


def test_what_was_not_begun_goes_back_to_its_queue(worker: Worker, redis_server: RedisServer) -> None:
    """After a lost connection, with the next one."""
    worker.take()
    worker.reconnect()
    assert on_redis(redis_server) == (1, 0, 0)


def test_what_is_being_worked_on_is_acknowledged_over_the_next_connection(
    worker: Worker, redis_server: RedisServer
) -> None:
    """It is not delivered a second time."""
    message = worker.take()
    request = SimpleRequest(message)
    state.active_requests.add(request)
    worker.reconnect()
    assert on_redis(redis_server) == (0, 1, 1)
    message.ack()
    worker.restore()
    assert on_redis(redis_server) == (0, 0, 0)


class SimpleRequest(SimpleNamespace):
    """A request of Celery, as far as it is asked."""

    __hash__ = object.__hash__

    def __init__(self, message: Message) -> None:
        super().__init__(message=message, acknowledged=False)


def test_a_message_that_redis_may_not_have_recorded_is_put_back(
    worker: Worker, redis_server: RedisServer
) -> None:
    """It was removed from its queue, and only this process has it."""
    with redis_server.client() as client:
        client.delete(QUEUE)
    raw = {"body": "", "headers": {}, "properties": {"delivery_tag": "t", "delivery_info": {}}}
    channel = worker.connection.default_channel
    message = channel.Message(raw, channel=channel)
    message.delivery_info = {"exchange": "", "routing_key": QUEUE}
    redis_server.freeze()
    with pytest.raises(RedisTimeoutError):
        channel.qos.append(message, "t")
    redis_server.thaw()
    worker.reconnect()
    worker.restore()
    assert on_redis(redis_server) == (1, 0, 0)


@pytest.fixture
def survivor(redis_url: str) -> Iterator[Worker]:
    """Another worker of the same app."""
    survivor = Worker(redis_url)
    yield survivor
    survivor.close()


@pytest.fixture
def taken(worker: Worker, redis_server: RedisServer, request: pytest.FixtureRequest) -> str:
    """The tag of a message for a task that a worker has taken."""
    with redis_server.client() as client:
        client.delete(QUEUE)
    worker.app.send_task(request.param, queue=QUEUE, ignore_result=True)
    return str(worker.take().delivery_tag)


def end_heartbeats(server: RedisServer, tag: str) -> None:
    """Let the last heartbeat of a message be long ago."""
    with server.client() as client:
        assert client.zscore(HEARTBEATS, tag)
        client.zadd(HEARTBEATS, {tag: 1})


@pytest.mark.parametrize("taken", [EMAIL_TASK], indirect=True)
def test_a_message_of_a_dead_worker_returns(taken: str, survivor: Worker, redis_server: RedisServer) -> None:
    """Long before the visibility timeout."""
    survivor.restore()
    assert on_redis(redis_server) == (0, 1, 1)
    end_heartbeats(redis_server, taken)
    survivor.restore()
    assert on_redis(redis_server) == (1, 0, 0)
    assert survivor.take().headers["task"] == EMAIL_TASK


@pytest.mark.parametrize("taken", [EMAIL_TASK], indirect=True)
def test_a_worker_sends_heartbeats_for_what_it_has(
    taken: str, worker: Worker, survivor: Worker, redis_server: RedisServer
) -> None:
    """Its messages stay with it; what is done has no heartbeats."""
    end_heartbeats(redis_server, taken)
    worker.restore()
    survivor.restore()
    assert on_redis(redis_server) == (0, 1, 1)
    worker.connection.default_channel.basic_ack(taken)
    worker.restore()
    with redis_server.client() as client:
        assert client.zcard(HEARTBEATS) == 0


@pytest.mark.parametrize("taken", [OWN_TASK], indirect=True)
def test_a_task_of_the_service_keeps_the_visibility_timeout(
    taken: str, survivor: Worker, redis_server: RedisServer
) -> None:
    """Nothing else would keep it from running twice if its worker was only asleep."""
    end_heartbeats(redis_server, taken)
    survivor.restore()
    assert on_redis(redis_server) == (0, 1, 1)


def test_a_heartbeat_without_a_message_is_deleted(worker: Worker, redis_server: RedisServer) -> None:
    """A worker of another version has ended the message."""
    with redis_server.client() as client:
        client.zadd(HEARTBEATS, {"gone": 1})
        worker.restore()
        assert client.zcard(HEARTBEATS) == 0


def test_a_user_without_the_permission_gets_messages_all_the_same(
    redis_url: str, redis_server: RedisServer
) -> None:
    """They return after the visibility timeout."""
    with redis_server.client() as client:
        keys = [f"~{key}" for key in (QUEUE + "*", "unacked", "unacked_index", "unacked_mutex", "_kombu*")]
        client.execute_command("ACL", "SETUSER", "strict", "on", ">secret", "+@all", "&*", *keys)
    worker = Worker(redis_url.replace("redis://", "redis://strict:secret@"))
    worker.app.send_task(EMAIL_TASK, queue=QUEUE, ignore_result=True)
    worker.take().ack()
    worker.restore()
    assert on_redis(redis_server) == (0, 0, 0)
    worker.close()
    with redis_server.client() as client:
        client.execute_command("ACL", "DELUSER", "strict")
