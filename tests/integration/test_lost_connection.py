"""A task that ends when its worker has lost the broker: the worker lives, the message is given out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kombu import Connection

from mailctl.worker.lost_connection import tolerate_lost_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.message import Message

ENDS: dict[str, Callable[[Message], object]] = {
    "acknowledged": lambda message: message.ack(),
    "rejected": lambda message: message.reject(requeue=True),
    "closed": lambda message: message.channel.qos.restore_unacked(),
}


def delivered(connection: Connection) -> Message:
    """Return a message that a client published, as a worker gets it."""
    queue = connection.SimpleQueue("celery")
    queue.put("an email")
    message = queue.get(timeout=5)
    tolerate_lost_connection(message.channel)
    return message


def lose(message: Message, connection: Connection) -> None:
    """Do what a worker does with a connection that broke, before it has the next one."""
    connection.collect()
    message.channel._disconnect_pools()


@pytest.mark.parametrize("end", ENDS)
def test_a_message_whose_connection_is_gone_is_not_lost(redis_url: str, end: str) -> None:
    """The error is one that Celery expects; any other would end the worker."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        lose(message, connection)
        with pytest.raises(connection.connection_errors, match="this connection is gone"):
            ENDS[end](message)
    with Connection(redis_url) as later:
        assert later.SimpleQueue("celery").get(timeout=5).payload == "an email"


def test_while_the_connection_stands_the_message_leaves_the_broker(redis_url: str) -> None:
    """What was acknowledged is not given out again."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        message.channel._disconnect_pools()
        message.ack()
    with Connection(redis_url) as later:
        queue = later.SimpleQueue("celery")
        with pytest.raises(queue.Empty):
            queue.get(block=False)
