"""Messages go to the broker one by one, and a broker that failed is left alone for a while."""

from __future__ import annotations

from contextlib import closing
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.enqueue.message_sender import MessageSender
from mailctl.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "emails"


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app with a broker in memory."""
    with Celery("sending", broker="memory://", set_as_current=False) as app:
        app.conf.broker_transport_options = {"polling_interval": 0.01}
        yield app
        with app.connection_for_write() as connection:
            connection.default_channel.queue_purge(QUEUE)


def next_message(app: Celery) -> Any:
    """Return the next message of the queue; None if it is empty."""
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue(QUEUE)
        try:
            return queue.get(block=False)
        except Empty:
            return None
        finally:
            queue.close()


def test_a_message_has_the_id_of_its_email_and_says_whose_it_is(app: Celery) -> None:
    """By a header, which tells it from the messages of other programs; others may be added."""
    with closing(MessageSender(app)) as sender:
        sender.send("mail", task_id="e-1", queue=QUEUE, headers={"more": "x"}, args=[1])
        assert sender.sent_count == 1
    message = next_message(app)
    headers = {name: message.headers[name] for name in ("id", "task", "mailctl", "more")}
    assert headers == {"id": "e-1", "task": "mail", "mailctl": "1", "more": "x"}


def test_a_message_without_an_id_gets_one(app: Celery) -> None:
    """Another one for each."""
    with closing(MessageSender(app)) as sender:
        for _ in range(2):
            sender.send("mail", queue=QUEUE)
    ids = {next_message(app).headers["id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_broker_that_confirms_nothing_has_taken_what_it_did_not_refuse(app: Celery) -> None:
    """Only RabbitMQ confirms."""
    with closing(MessageSender(app)) as sender:
        sender.send_unconfirmed("mail", task_id="e-1", queue=QUEUE)
        assert sender.confirm() == (frozenset(), None)


class TestBackingOff:
    """A broker that failed is not asked again for a while."""

    @pytest.fixture
    def sender(self) -> Iterator[MessageSender]:
        """A sender to a port where nothing listens."""
        with (
            Celery("down", broker="redis://127.0.0.1:1/0", set_as_current=False) as app,
            closing(MessageSender(app)) as sender,
        ):
            yield sender

    def test_the_next_message_fails_without_a_question(self, sender: MessageSender) -> None:
        """A thousand calls would otherwise wait for a thousand time-outs."""
        with pytest.raises(BrokerUnavailable) as first:
            sender.send("mail", queue=QUEUE)
        assert sender.is_backing_off
        with pytest.raises(BrokerUnavailable) as second:
            sender.send("mail", queue=QUEUE)
        assert "127.0.0.1" in str(first.value)
        assert "a moment ago" in str(second.value)
        assert sender.sent_count == 0

    def test_a_look_puts_off_no_message(self, sender: MessageSender) -> None:
        """It says only whether the broker answers."""
        assert not sender.can_reach_broker()
        assert not sender.is_backing_off

    def test_while_it_backs_off_a_look_asks_nothing(self, sender: MessageSender) -> None:
        """And leaves it so."""
        with pytest.raises(BrokerUnavailable):
            sender.reach_broker()
        assert not sender.can_reach_broker()
        assert sender.is_backing_off
