"""Tasks that end after the worker lost the broker: the worker survives, and the message comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kombu import Connection

from mailctl.worker.consumer_guards import tolerate_lost_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.message import Message

ENDS: dict[str, Callable[[Message], object]] = {
    "acknowledged": lambda message: message.ack(),
    "rejected": lambda message: message.reject(requeue=True),
    "closed": lambda message: message.channel.qos.restore_unacked(),
}


def delivered(connection: Connection) -> Message:
    """Return a message that a client published, as a worker receives it."""
    queue = connection.SimpleQueue("celery")
    queue.put("an email")
    message = queue.get(timeout=5)
    tolerate_lost_connection(message.channel)
    return message


def lose(message: Message, connection: Connection) -> None:
    """Close a connection as a worker does after an error, before it opens the next one."""
    connection.collect()
    message.channel._disconnect_pools()


@pytest.mark.parametrize("end", ENDS)
def test_a_message_survives_the_loss_of_its_connection(redis_url: str, end: str) -> None:
    """The error is one that Celery handles; any other would end the worker."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        lose(message, connection)
        with pytest.raises(connection.connection_errors, match="this connection is lost"):
            ENDS[end](message)
    with Connection(redis_url) as later:
        assert later.SimpleQueue("celery").get(timeout=5).payload == "an email"


def test_an_acknowledged_message_leaves_the_broker(redis_url: str) -> None:
    """The broker does not deliver it again."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        message.channel._disconnect_pools()
        message.ack()
    with Connection(redis_url) as later:
        queue = later.SimpleQueue("celery")
        with pytest.raises(queue.Empty):
            queue.get(block=False)
