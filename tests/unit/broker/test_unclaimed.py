"""Unclaimed messages are counted and put back, here in the memory of the process."""

from __future__ import annotations

import uuid

from celery import Celery

from mailctl.broker.messages import unclaimed_queue
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command


def test_unclaimed_messages_go_back_to_their_queue_in_order() -> None:
    """Once."""
    app, queue = Celery(broker="memory://"), f"celery-{uuid.uuid4().hex}"
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for number in range(3):
            channel._put(unclaimed_queue(queue), {"number": number})
        unclaimed = UnclaimedMessages(app)
        assert [unclaimed.restore(queue), unclaimed.restore(queue)] == [3, 0]
        assert [channel._get(queue)["number"] for _ in range(3)] == [0, 1, 2]


def test_a_broker_in_memory_has_no_unclaimed_messages_of_others() -> None:
    """Nobody else publishes to it."""
    assert UnclaimedMessages(Celery(broker="memory://")).counts(["celery"]) == {}


def test_the_command_that_restores_them_can_be_pasted_into_a_shell() -> None:
    """Whatever the queue is called."""
    assert restore_command("celery") == "mailctl queue restore celery"
    assert restore_command("a; rm -rf b") == "mailctl queue restore 'a; rm -rf b'"
