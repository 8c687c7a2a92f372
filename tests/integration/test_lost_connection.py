"""A task that ends when its worker has lost the broker: the worker lives, the message is given out again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from kombu import Connection

from mailctl.celery_app import create_celery_app
from mailctl.settings import Settings
from mailctl.tasks import send_welcome_email_task
from mailctl.worker.request import PrivateRequest

if TYPE_CHECKING:
    from kombu.message import Message

TASK = send_welcome_email_task.name


def delivered(connection: Connection) -> Message:
    """Return a message that a client published, as a worker gets it."""
    queue = connection.SimpleQueue("celery")
    queue.put([[], {"user_data": {"username": "zoe"}}, {}], headers={"task": TASK, "id": "1" * 8})
    return queue.get(timeout=5)


def request_of(message: Message, connection: Connection) -> PrivateRequest:
    app = create_celery_app(Settings())
    return PrivateRequest(
        message,
        on_ack=message.ack_log_error,
        on_reject=message.reject_log_error,
        app=app,
        task=app.tasks[TASK],
        connection_errors=connection.connection_errors,
    )


def lose(message: Message, connection: Connection) -> None:
    """Do what a worker does with a connection that broke, before it has the next one."""
    connection.collect()
    message.channel._disconnect_pools()


@pytest.mark.parametrize("end", ["acknowledge", "reject"])
def test_a_message_whose_connection_is_gone_is_neither_lost_nor_an_error(
    redis_url: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """kombu raises an AttributeError there, which would end the worker."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        request = request_of(message, connection)
        lose(message, connection)
        with caplog.at_level(logging.WARNING, "mailctl.worker"):
            getattr(request, end)()
    assert "its connection is gone" in caplog.text
    with Connection(redis_url) as later:
        assert later.SimpleQueue("celery").get(timeout=5).headers["task"] == TASK


def test_while_the_connection_stands_the_message_leaves_the_broker(redis_url: str) -> None:
    """What was acknowledged is not given out again."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        request_of(message, connection).acknowledge()
    with Connection(redis_url) as later:
        queue = later.SimpleQueue("celery")
        with pytest.raises(queue.Empty):
            queue.get(block=False)


def test_another_slip_is_not_hidden(redis_url: str) -> None:
    """Only what kombu asks of a connection that is gone is forgiven."""
    with Connection(redis_url) as connection:
        message = delivered(connection)
        request = request_of(message, connection)
        request._on_ack = lambda *_: object().nothing  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="nothing"):
            request.acknowledge()
