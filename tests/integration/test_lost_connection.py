"""A task that ends when its worker has lost the broker: the worker lives, the message is given out again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from kombu import Connection

from mailctl.worker.acknowledging import outlive_connection

if TYPE_CHECKING:
    from kombu.message import Message

LOG = logging.getLogger("test")


def delivered(connection: Connection) -> Message:
    """Return a message that a client published, as a worker gets it."""
    queue = connection.SimpleQueue("celery")
    queue.put("an email")
    message = queue.get(timeout=5)
    outlive_connection(message)
    return message


def lose(message: Message, connection: Connection) -> None:
    """Do what a worker does with a connection that broke, before it has the next one."""
    connection.collect()
    message.channel._disconnect_pools()


@pytest.mark.parametrize("end", ["ack_log_error", "reject_log_error"])
def test_a_message_whose_connection_is_gone_is_neither_lost_nor_an_error(
    redis_url: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """kombu raises an AttributeError there, which would end the worker."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        lose(message, connection)
        with caplog.at_level(logging.WARNING, "mailctl.worker"):
            getattr(message, end)(LOG, connection.connection_errors)
    assert "its connection is gone" in caplog.text
    with Connection(redis_url) as later:
        assert later.SimpleQueue("celery").get(timeout=5).payload == "an email"


def test_while_the_connection_stands_the_message_leaves_the_broker(redis_url: str) -> None:
    """What was acknowledged is not given out again."""
    with Connection(redis_url) as connection:
        delivered(connection).ack_log_error(LOG, connection.connection_errors)
    with Connection(redis_url) as later:
        queue = later.SimpleQueue("celery")
        with pytest.raises(queue.Empty):
            queue.get(block=False)


def test_another_slip_is_not_hidden() -> None:
    """Only what kombu asks of a connection that is gone is forgiven."""

    class Careless:
        def ack_log_error(self, *_: object) -> None:
            raise AttributeError("slip", name="slip", obj=self)

        reject_log_error = ack_log_error

    message = Careless()
    outlive_connection(message)
    with pytest.raises(AttributeError, match="slip"):
        message.ack_log_error()
