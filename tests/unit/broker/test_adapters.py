"""Each type of broker has its adapter, and every adapter answers the same questions."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

from mailctl.broker.adapters import BrokerAdapter, adapter_for
from mailctl.broker.amqp import AmqpAdapter
from mailctl.broker.memory import MemoryAdapter
from mailctl.broker.redis import RedisAdapter

ADAPTERS = {"redis": RedisAdapter, "amqp": AmqpAdapter, "memory": MemoryAdapter, "filesystem": MemoryAdapter}


@pytest.mark.parametrize("driver", ADAPTERS)
def test_the_driver_of_a_connection_chooses_the_adapter(driver: str) -> None:
    """What kombu emulates over some store is a broker in memory to us."""
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=driver))
    assert type(adapter_for(connection)) is ADAPTERS[driver]


@pytest.mark.parametrize("adapter", set(ADAPTERS.values()))
def test_an_adapter_takes_the_arguments_of_every_question(adapter: type) -> None:
    """In the same number, so that no caller knows which broker it asks."""
    questions = [name for name in vars(BrokerAdapter) if not name.startswith("_")]
    for name in questions:
        asked = inspect.signature(getattr(BrokerAdapter, name)).parameters
        assert len(inspect.signature(getattr(adapter, name)).parameters) == len(asked), name
