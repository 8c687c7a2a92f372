"""On RabbitMQ a message counts as sent when the broker has confirmed it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from kombu import Queue

from mailctl.enqueue.message_sender import MessageSender
from mailctl.errors import BrokerRefused, BrokerUnavailable
from tests.servers import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tests.servers import RabbitServer

QUEUE = "emails"


@pytest.fixture(params=[False, True], ids=["plain", "confirming"])
def app(request: pytest.FixtureRequest, rabbit_url: str) -> Iterator[Celery]:
    """An app of a service on an empty RabbitMQ, which confirms by itself, or does not."""
    with Celery("sending", broker=rabbit_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"confirm_publish": request.param}
        yield app


@contextmanager
def channel_of(app: Celery) -> Iterator[Any]:
    """Open a channel for looking into the broker."""
    with app.connection_for_write() as connection:
        yield connection.default_channel


def test_many_messages_are_confirmed_together(app: Celery) -> None:
    """By the ids of their tasks."""
    with closing(MessageSender(app)) as sender:
        for number in range(200):
            sender.send_unconfirmed("mail", task_id=f"id-{number}", queue=QUEUE)
        assert sender.confirm() == (frozenset(), None)
        assert sender.sent_count == 200
    with channel_of(app) as channel:
        assert channel.queue_declare(QUEUE, passive=True).message_count == 200


def test_a_full_queue_refuses_messages(app: Celery) -> None:
    """Those that it has not taken are named."""
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with channel_of(app) as channel:
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments=limits)
    app.amqp.queues.add(_undeclared(app))
    with closing(MessageSender(app)) as sender:
        for name in ("first", "second", "third"):
            sender.send_unconfirmed("mail", task_id=name, queue=QUEUE)
        unconfirmed, error = sender.confirm()
        assert "first" not in unconfirmed
        assert "third" in unconfirmed
        assert isinstance(error, BrokerRefused)
        assert sender.is_backing_off


def _undeclared(app: Celery) -> Any:
    """Return the queue, which the publisher does not declare."""
    return Queue(QUEUE, no_declare=True, exchange="", routing_key=QUEUE)


def test_a_message_that_no_queue_gets_is_returned(app: Celery) -> None:
    """RabbitMQ would drop it in silence."""
    app.amqp.queues.add(_undeclared(app))
    with closing(MessageSender(app)) as sender, pytest.raises(BrokerRefused, match="NO_ROUTE"):
        sender.send("mail", queue=QUEUE)


def test_a_broker_that_does_not_confirm_is_unavailable(app: Celery, rabbit_server: RabbitServer) -> None:
    """It may have the messages nevertheless; closing the connection does not wait for it."""
    with Proxy(rabbit_server.port) as network:
        url = str(app.conf.broker_url).replace(str(rabbit_server.port), str(network.port))
        app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = url
        sender = MessageSender(app)
        sender.send("mail", queue=QUEUE)
        network.silence()
        sender.send_unconfirmed("mail", task_id="silent", queue=QUEUE)
        unconfirmed, error = sender.confirm()
        assert unconfirmed == {"silent"}
        assert type(error) is BrokerUnavailable
        sender.close()
