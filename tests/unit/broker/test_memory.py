"""The adapter for kombu's broker in memory, and the choice of an adapter."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection

from mailctl.broker.adapters import adapter_for
from mailctl.broker.amqp import AmqpAdapter
from mailctl.broker.memory import MemoryAdapter
from mailctl.broker.redis import RedisAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[Any]:
    """A connection to a broker in memory."""
    with Connection("memory://") as connection:
        yield connection


@pytest.fixture
def queue() -> str:
    """The name of a queue that no other test uses: the memory is that of the process."""
    return f"q-{uuid.uuid4()}"


def put(connection: Any, queue: str, *values: str) -> None:
    simple = connection.SimpleQueue(queue)
    for value in values:
        simple.put(value)


def test_messages_are_counted_but_not_shown(connection: Any, queue: str) -> None:
    """A search is incomplete."""
    adapter = MemoryAdapter(connection)
    assert adapter.ready_count(queue) == 0
    put(connection, queue, "a", "b")
    put(connection, f"{queue}.unclaimed", "c")
    found = adapter.read_queues([queue])[queue]
    assert (found.ready, found.unclaimed, found.messages, found.unacked) == (2, 1, None, None)
    assert not adapter.find_message("a", queue).is_complete
    assert (adapter.unacked_count(), adapter.server_setting("x")) == (None, None)


def test_unclaimed_messages_are_restored_in_order(connection: Any, queue: str) -> None:
    """They come after the messages that the queue has."""
    put(connection, queue, "a")
    put(connection, f"{queue}.unclaimed", "b", "c")
    assert MemoryAdapter(connection).restore_unclaimed(queue) == 2
    simple = connection.SimpleQueue(queue)
    assert [simple.get(block=False).payload for _ in range(3)] == ["a", "b", "c"]
    assert MemoryAdapter(connection).ready_count(f"{queue}.unclaimed") == 0


@pytest.mark.parametrize(
    ("driver_type", "adapter"),
    [("redis", RedisAdapter), ("amqp", AmqpAdapter), ("memory", MemoryAdapter), ("sqs", MemoryAdapter)],
)
def test_the_driver_decides_on_the_adapter(driver_type: str, adapter: type[object]) -> None:
    """kombu emulates every broker that it has no driver for."""
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=driver_type))
    assert type(adapter_for(connection)) is adapter
