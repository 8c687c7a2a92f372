"""The connections of a worker on Redis, without tasks that are executed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.asynchronous import Hub

from mailctl.worker.consumer_guards import _guard_redis, keep_compressed
from mailctl.worker.private_request import PrivateTask
from mailctl.worker.redis_unacked import guard_unacked_messages

if TYPE_CHECKING:
    from kombu.transport.virtual import Message

QUEUE = "celery"
OWN_TASK, EMAIL_TASK = "mail", "send"
#: Seconds for which a test waits for what has to happen.
PATIENCE = 30.0


def run() -> None:
    """Never called: no message is executed here."""


class Worker:
    """The connections of one worker, as Celery opens them.

    Args:
        url: the address of Redis.
        has_event_loop: whether it has an event loop, as Celery's workers on Redis have.
        options: the app's options for its broker.
    """

    def __init__(self, url: str, *, has_event_loop: bool = True, **options: Any) -> None:
        self.app = Celery("worker", broker=url, set_as_current=False)
        self.app.task(name=OWN_TASK, shared=False)(run)
        self.app.task(name=EMAIL_TASK, base=PrivateTask, shared=False)(run)
        self.app.conf.broker_transport_options = {"socket_timeout": 0.2, **options}
        self.hub = Hub() if has_event_loop else None
        self.taken: list[Message] = []
        self.connection_for_read = self._connect
        guard_unacked_messages(self)
        self.connection = self._open()

    @property
    def channel(self) -> Any:
        """The channel that takes messages."""
        return self.connection.default_channel

    def consume(self, *queues: str) -> None:
        """Begin to take messages from queues."""
        for queue in queues or (QUEUE,):
            self.channel.basic_consume(queue, no_ack=False, callback=self.taken.append, consumer_tag=queue)

    def step(self) -> None:
        """Let the worker wait for the next event, for a short time."""
        if self.hub is None:
            try:
                self.connection.drain_events(timeout=1)
            except TimeoutError:
                return
        else:
            next(self.hub.loop)

    def receive(self, count: int = 1) -> Message:
        """Wait for messages, and return the last."""
        deadline = time.monotonic() + PATIENCE
        while len(self.taken) < count:
            assert time.monotonic() < deadline
            self.step()
        return self.taken[-1]

    def take(self) -> Message:
        """Take the next message, and no other one."""
        self.consume()
        message = self.receive(len(self.taken) + 1)
        self.channel.basic_cancel(QUEUE)
        return message

    def close(self) -> None:
        """Close everything."""
        self.connection.release()
        self.app.close()
        if self.hub is not None:
            self.hub.close()

    def restore(self) -> None:
        """Do what a worker does every few seconds."""
        self.channel.qos.restore_visible(num=10, interval=1)

    def reconnect(self) -> None:
        """Connect again after an error, as Celery does."""
        self.connection.collect(socket_timeout=0.2)
        if self.hub is not None:
            self.hub.reset()
        self.connection = self._open()

    def _connect(self) -> Any:
        connection = self.app.connection_for_read()
        connection.connect()
        return connection

    def _open(self) -> Any:
        connection = self.connection_for_read()
        channel = connection.default_channel
        channel.Message = keep_compressed(channel.Message)
        _guard_redis(channel, (*connection.connection_errors, *connection.channel_errors))
        if self.hub is not None:
            connection.transport.register_with_event_loop(connection.connection, self.hub)
        return connection
