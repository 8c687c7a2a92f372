"""A waiting message does not take the prefetch slot of an email."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.worker.foreign_messages.prefetch import PrefetchSlots, do_nothing


class Qos:
    """A prefetch count with a maximum, like Celery's."""

    def __init__(self, value: int, *, maximum: int = 10) -> None:
        self.value = value
        self._maximum = maximum

    def increment_eventually(self) -> int:
        self.value = min(self.value + 1, self._maximum)
        return self.value

    def decrement_eventually(self) -> None:
        self.value -= 1


class TaskConsumer:
    """Counts how often it is cancelled and started."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def cancel(self) -> None:
        self.calls.append("cancel")

    def consume(self) -> None:
        self.calls.append("consume")


def consumer(driver: str, *, qos: Qos, qos_global: bool = True) -> Any:
    """Return what the slots use of Celery's consumer."""
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=driver))
    return SimpleNamespace(
        connection=connection,
        qos=qos,
        qos_global=qos_global,
        initial_prefetch_count=4,
        task_consumer=TaskConsumer(),
        call_soon=lambda function: function(),
    )


@pytest.mark.parametrize("driver", ["redis", "amqp", "memory"])
def test_a_slot_is_given_and_taken_back(driver: str) -> None:
    """By the prefetch count, where the broker applies a new one."""
    qos = Qos(4)
    release = PrefetchSlots(consumer(driver, qos=qos)).reserve()
    assert qos.value == 5
    release()
    assert qos.value == 4


def test_a_slot_that_was_not_given_is_not_taken_back() -> None:
    """The prefetch count has a maximum."""
    qos = Qos(4, maximum=4)
    assert PrefetchSlots(consumer("amqp", qos=qos)).reserve() is do_nothing


def test_a_quorum_queue_gets_a_new_consumer() -> None:
    """RabbitMQ does not apply a new count to the old one, and nothing is replaced twice."""
    quorum = consumer("amqp", qos=Qos(4), qos_global=False)
    slots = PrefetchSlots(quorum)
    slots.renew_consumer()
    assert quorum.task_consumer.calls == []
    slots.reserve()()
    slots.renew_consumer()
    assert quorum.task_consumer.calls == ["cancel", "consume"]
    assert quorum.qos.value == 4
