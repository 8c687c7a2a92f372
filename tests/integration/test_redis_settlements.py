"""A message that Redis does not confirm as done is settled later, over another connection; none is lost."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.worker import state
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailctl.worker.redis_unacked import guard_unacked_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.transport.virtual import Message

    from tests.servers import RedisServer

QUEUE = "celery"


class Worker:
    """The connections of one worker, as Celery opens them."""

    def __init__(self, url: str) -> None:
        self.app = Celery("worker", broker=url, set_as_current=False)
        self.app.conf.broker_transport_options = {"socket_timeout": 0.2}
        self.connection_for_read = self._connect
        guard_unacked_messages(self)
        self.connection = self.connection_for_read()

    def _connect(self) -> Any:
        connection = self.app.connection_for_read()
        connection.connect()
        return connection

    def take(self) -> Message:
        """Take the next message."""
        taken: list[Message] = []
        channel = self.connection.default_channel
        channel.basic_consume(QUEUE, no_ack=False, callback=taken.append, consumer_tag="test")
        while not taken:
            self.connection.drain_events(timeout=5)
        channel.basic_cancel("test")
        return taken[0]

    def reconnect(self) -> None:
        """Connect again after an error, as Celery does."""
        self.connection.collect(socket_timeout=0.2)
        self.connection = self.connection_for_read()


@pytest.fixture
def worker(redis_url: str) -> Iterator[Worker]:
    """A worker on a Redis with one message."""
    worker = Worker(redis_url)
    worker.app.send_task("mail", queue=QUEUE, ignore_result=True)
    yield worker
    worker.connection.release()
    worker.app.close()


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
    qos.restore_visible()
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
    worker.connection.default_channel.qos.restore_visible()
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
    worker.connection.default_channel.qos.restore_visible()
    assert on_redis(redis_server) == (1, 0, 0)
