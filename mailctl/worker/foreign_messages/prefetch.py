"""Prefetch slots: messages of other apps that wait in a worker do not take the slots of emails.

A worker prefetches a few messages at a time. While a message of another app waits, the worker may prefetch
one more, as Celery does for tasks with an ETA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.worker import state

from mailctl.broker.broker_type import BrokerType, broker_type_of

if TYPE_CHECKING:
    from collections.abc import Callable


class PrefetchSlots:
    """Gives the worker a prefetch slot for each message that waits.

    Where RabbitMQ counts prefetched messages by consumer, as it does for quorum queues, it does not apply a
    new count to an existing consumer. There a new consumer replaces the one that is full of waiting messages.

    Args:
        consumer: the Celery consumer of the worker.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        is_amqp = broker_type_of(consumer.connection) is BrokerType.AMQP
        self._is_by_consumer = is_amqp and not getattr(consumer, "qos_global", True)
        self._has_waiting = False

    def reserve(self) -> Callable[[], None]:
        """Let the worker prefetch one more message, and return a function that undoes it."""
        if self._is_by_consumer:
            self._has_waiting = True
            self._consumer.call_soon(self.renew_consumer)
            return do_nothing
        qos = self._consumer.qos
        before = qos.value
        return qos.decrement_eventually if qos.increment_eventually() > before else do_nothing

    def renew_consumer(self) -> None:
        """Replace the AMQP consumer if waiting messages fill its slots and the worker has room for tasks."""
        consumer = self._consumer
        if not self._has_waiting or len(state.reserved_requests) >= consumer.initial_prefetch_count:
            return
        self._has_waiting = False
        if consumer.task_consumer is not None:
            consumer.task_consumer.cancel()
            consumer.task_consumer.consume()


def do_nothing() -> None:
    """Do nothing: there is no slot to give back."""
