"""Sends the messages of tasks to the broker, and knows of each whether the broker has it."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mailctl.broker.adapters import adapter_for
from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.broker.confirms import REPLY_SECONDS, Confirms
from mailctl.broker.connection import (
    broker_error,
    driver_errors,
    drop_connection,
    fail_fast_connection,
    limit_waits,
)
from mailctl.errors import BrokerUnavailable
from mailctl.process.fork_safety import no_fork

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from celery import Celery

#: Seconds for which a broker that did not answer is not asked again.
BROKER_RETRY_SECONDS = 2.0


class MessageSender:
    """Sends messages over a connection of its own; one thread at a time may use it.

    On RabbitMQ a message counts as sent when the broker has confirmed it. On Redis its reply says the same.

    Args:
        app: the app whose broker gets the messages.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = fail_fast_connection(app)
        self._producer: Any = None
        self._confirms: Confirms | None = None
        self._unconfirmed: dict[Hashable, Exception] = {}
        #: The number of messages that were handed to the broker.
        self.sent_count = 0
        self._retry_at = 0.0

    @property
    def is_backing_off(self) -> bool:
        """Whether the broker failed so recently that it is not asked again yet."""
        return time.monotonic() < self._retry_at

    def send(self, task: str, *, task_id: str | None = None, **options: Any) -> None:
        """Send a message, and wait until the broker has it.

        Args:
            task: the name of the task.
            task_id: the id of the task; None for a new one.
            options: further options of `Celery.send_task`.

        Raises:
            BrokerRefused: the broker has not taken the message.
            BrokerUnavailable: the broker does not answer; it may have the message nevertheless.
        """
        self.send_unconfirmed(task, task_id=task_id or str(uuid.uuid4()), **options)
        _, error = self.confirm()
        if error is not None:
            raise error

    def send_unconfirmed(
        self, task: str, *, task_id: str, headers: Mapping[str, object] | None = None, **options: Any
    ) -> None:
        """Send a message of which `confirm` will say whether the broker has it.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with self._broker_errors():
            producer = self._open_producer()
            if self._confirms is not None:
                self._confirms.expect(task_id)
                # The broker returns a message that no queue gets, instead of dropping it.
                options["mandatory"] = True
            self._app.send_task(
                task,
                task_id=task_id,
                producer=producer,
                # Subscribing to the result would block while the result backend is down.
                ignore_result=True,
                retry=False,
                headers={"mailctl": "1", **(headers or {})},
                **options,
            )
            self.sent_count += 1

    def confirm(self) -> tuple[frozenset[Hashable], BrokerUnavailable | None]:
        """Wait until the broker has confirmed everything that was sent.

        Returns:
            The ids of the tasks whose messages it did not confirm, and the first reason, if there is one.
        """
        if self._confirms is not None:
            self._unconfirmed |= self._confirms.wait()
        failed, self._unconfirmed = self._unconfirmed, {}
        if not failed:
            return frozenset(), None
        error = next(iter(failed.values()))
        self._disconnect(error)
        return frozenset(failed), broker_error(self._connection, error)

    def reach_broker(self) -> None:
        """Wait for a round trip to the broker; if it fails, nothing was sent.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with self._broker_errors():
            limit_waits(self._connection)
            adapter_for(self._connection).ping()

    def is_loss_provable(self, *, workers: int) -> bool:
        """Return whether the broker could prove later that it has lost a message; see `BrokerAdapter`.

        Args:
            workers: the number of live workers that share the log.

        Raises:
            BrokerRefused: the broker stores nothing.
            BrokerUnavailable: the broker does not answer.
        """
        exchange = self._app.control.mailbox.exchange.name
        with self._broker_errors():
            return adapter_for(self._connection).is_loss_provable(exchange, workers)

    def note_publication(self, email_id: str) -> None:
        """Write a note to the broker that an email is about to be published in full; see `BrokerAdapter`.

        Raises:
            BrokerRefused: the broker refuses the note, and would refuse the message.
            BrokerUnavailable: the broker does not answer.
        """
        with self._broker_errors():
            adapter_for(self._connection).note_publication(email_id)

    def can_reach_broker(self) -> bool:
        """Return whether the broker answers now; a failure does not put off the next message."""
        if self.is_backing_off:
            return False
        try:
            self.reach_broker()
        except BrokerUnavailable:
            self._retry_at = 0.0
            return False
        return True

    def ready_count(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with self._broker_errors():
            limit_waits(self._connection)
            return adapter_for(self._connection).ready_count(queue)

    def close(self) -> None:
        """Close the connection, in a few seconds at most."""
        self._connection.close()

    @contextmanager
    def _broker_errors(self) -> Iterator[None]:
        if self.is_backing_off:
            raise BrokerUnavailable("The broker did not answer a moment ago.", fix="Start the broker.")
        with no_fork():
            try:
                yield
            except driver_errors(self._connection) as error:
                self._disconnect(error)
                raise broker_error(self._connection, error) from error

    def _disconnect(self, error: Exception) -> None:
        """Give up the connection after an error: the next message opens another one, after a while."""
        self._retry_at = time.monotonic() + BROKER_RETRY_SECONDS
        if self._confirms is not None:
            self._confirms.abandon(error)
            self._unconfirmed |= self._confirms.failed()
        self._producer = self._confirms = None
        drop_connection(self._connection)

    def _open_producer(self) -> Any:
        if self._producer is None:
            limit_waits(self._connection)
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
            if broker_type_of(self._connection) is BrokerType.AMQP:
                self._confirms = Confirms(self._producer.channel, timeout_seconds=REPLY_SECONDS)
        return self._producer
