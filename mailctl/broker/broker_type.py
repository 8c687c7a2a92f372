"""The types of broker that mailctl tells apart, by the driver of a kombu connection."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any


class BrokerType(Enum):
    """A type of message broker."""

    REDIS = auto()
    #: RabbitMQ and other servers that speak AMQP 0-9-1.
    AMQP = auto()
    #: Kombu emulates the broker, in memory or over a store that has no adapter here.
    MEMORY = auto()


_BY_DRIVER = {"redis": BrokerType.REDIS, "amqp": BrokerType.AMQP}


def broker_type_of(connection: Any) -> BrokerType:
    """Return the type of the broker that a kombu connection leads to, without connecting."""
    return _BY_DRIVER.get(connection.transport.driver_type, BrokerType.MEMORY)
