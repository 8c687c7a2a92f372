"""RabbitMQ confirms a batch of published messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.exceptions import MessageNacked
from celery import Celery

from mailctl.broker.confirms import Confirms

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection(rabbit_url: str) -> Iterator[Any]:
    """A connection to RabbitMQ."""
    with (
        Celery("confirms", broker=rabbit_url, set_as_current=False) as app,
        app.connection_for_write() as made,
    ):
        yield made


def messages(number: int) -> list[Any]:
    return [amqp.Message(str(each)) for each in range(number)]


def test_every_message_of_a_batch_is_confirmed_or_has_an_error(connection: Any) -> None:
    """A full queue rejects messages, and a missing queue returns them."""
    with connection.channel() as channel:
        channel.queue_declare("roomy", auto_delete=False)
        limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare("full", auto_delete=False, arguments=limits)
    confirms = Confirms(connection.channel())
    for _ in range(2):
        assert confirms.publish(messages(500), "roomy") == [None] * 500
    assert confirms.publish([], "roomy") == []
    answers = confirms.publish(messages(5), "full")
    assert answers[0] is None
    assert [type(answer) for answer in answers].count(MessageNacked) >= 3
    lost = confirms.publish(messages(3), "nowhere")
    assert [getattr(answer, "reply_code", None) for answer in lost] == [312] * 3
    assert confirms.publish(messages(1), "roomy") == [None]
    with connection.channel() as channel:
        assert channel.queue_declare("roomy", passive=True).message_count == 1001


def test_a_broken_connection_is_the_error_of_what_was_not_confirmed(connection: Any) -> None:
    """Whether the broker has those messages is unknown."""
    channel = connection.channel()
    confirms = Confirms(channel)
    connection.connection.transport.close()
    answers = confirms.publish(messages(3), "anywhere")
    assert len(answers) == 3
    assert all(isinstance(answer, Exception) for answer in answers)
