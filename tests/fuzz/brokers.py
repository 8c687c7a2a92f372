"""Brokers as somebody uses them who can put anything there, past kombu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import amqp

from tests.fuzz.envelopes import QUEUE

if TYPE_CHECKING:
    from tests.fuzz.envelopes import Envelope, Shape
    from tests.servers import RedisServer

#: The topic of Redis that workers subscribe by a pattern, so that Redis does not list it.
MAILBOX = "/0.celery.pidbox"
#: An exchange of RabbitMQ that puts all on the queue.
ANY_KEY = "any-key"


class Broker(Protocol):
    """What a test does to a broker, past kombu."""

    def publish(self, shape: Shape) -> bool:
        """Put a message on the queue; return whether this broker can carry it."""
        ...

    def broadcast(self, envelope: Envelope) -> None:
        """Say something to all workers."""
        ...

    def left(self, queue: str = QUEUE) -> int:
        """How many messages are on a queue, or in the hands of a worker."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class OnRedis:
    """Lists of Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._client = server.client()

    def publish(self, shape: Shape) -> bool:
        raw = shape.on_redis()
        return raw is not None and bool(self._client.lpush(QUEUE, raw))

    def broadcast(self, envelope: Envelope) -> None:
        assert self._client.publish(MAILBOX, envelope.on_redis() or b""), "nobody listens"

    def left(self, queue: str = QUEUE) -> int:
        return int(self._client.llen(queue)) + int(self._client.hlen("unacked"))

    def close(self) -> None:
        self._client.close()


class OnRabbit:
    """Queues of RabbitMQ."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = {"host": parts.netloc.rpartition("@")[2], "virtual_host": parts.path[1:]}
        self._connect()

    def _connect(self) -> None:
        self._connection = amqp.Connection(**self._address)
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        self._channel.exchange_declare(ANY_KEY, "fanout", auto_delete=False)
        self._channel.queue_bind(QUEUE, ANY_KEY)

    def publish(self, shape: Shape) -> bool:
        message = shape.on_amqp()
        if message is None:
            return False
        exchange, key = ("", QUEUE) if shape.key is None else (ANY_KEY, shape.key)
        try:
            self._channel.basic_publish_confirm(message, exchange=exchange, routing_key=key)
        except amqp.InternalError:  # Erlang has no such number
            self._connection.collect()
            self._connect()
            return False
        return True

    def broadcast(self, envelope: Envelope) -> None:
        self._channel.basic_publish_confirm(envelope.on_amqp(), exchange="celery.pidbox")

    def left(self, queue: str = QUEUE) -> int:
        try:
            return int(self._channel.queue_declare(queue, passive=True).message_count)
        except amqp.NotFound:
            self._channel = self._connection.channel()
            return 0

    def close(self) -> None:
        self._connection.close()
