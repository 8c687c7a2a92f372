"""The bootstep holds messages of other apps, and requeues what it cannot hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.worker.foreign_messages.message import RAW_ATTRIBUTE
from mailctl.worker.foreign_messages.prefetch import do_nothing
from mailctl.worker.foreign_messages.step import ForeignMessageStep, _requeue, _unknown_task_name


class Requeuer:
    """A requeuer that remembers what it holds."""

    def __init__(self, *, is_full: bool = False, has_overflow_room: bool = True) -> None:
        self.is_full, self.has_overflow_room = is_full, has_overflow_room
        self.held: list[Any] = []

    def add(self, delayed: Any) -> None:
        self.held.append(delayed)


def release() -> None:
    """Stand for the release of a slot."""


class Worker:
    """The consumer of a worker, and the step on it."""

    def __init__(self) -> None:
        self.timers: list[float] = []
        self.connection_errors, self.channel_errors = (ConnectionError,), (KeyError,)
        self.timer = SimpleNamespace(call_after=lambda seconds, _: self.timers.append(seconds))
        self.task_consumer = SimpleNamespace(_active_tags={"celery": "None1"})
        self.step = ForeignMessageStep(self)
        self.slots = SimpleNamespace(reserve=lambda: release)

    def hold(self, requeuer: Requeuer, message: Any) -> None:
        self.step._hold_or_requeue(self, requeuer, self.slots, message, "shop.pay")  # type: ignore[arg-type]


def amqp_message(tag: str = "None1") -> Any:
    """Return a message as kombu received it over AMQP."""
    raw = SimpleNamespace(properties={}, body=b"x")
    delivery_info = {"consumer_tag": tag, "routing_key": "mail.welcome"}
    return SimpleNamespace(channel=None, delivery_info=delivery_info, **{RAW_ATTRIBUTE: raw})


@pytest.mark.parametrize(("tag", "queue"), [("None1", "celery"), ("other", "mail.welcome")])
def test_a_message_is_held_with_its_queue(tag: str, queue: str) -> None:
    """By the tag of its consumer, else by its routing key."""
    requeuer = Requeuer()
    Worker().hold(requeuer, amqp_message(tag))
    [delayed] = requeuer.held
    assert (delayed.foreign.queue, delayed.foreign.task, delayed.is_overflow) == (queue, "shop.pay", False)
    assert delayed.release_slot is release


@pytest.mark.parametrize(("has_room", "slot"), [(True, release), (False, do_nothing)])
def test_an_overflow_message_gets_a_slot_only_if_there_is_room(has_room: bool, slot: Any) -> None:
    """Otherwise the worker would receive more and more."""
    requeuer = Requeuer(is_full=True, has_overflow_room=has_room)
    Worker().hold(requeuer, amqp_message())
    [delayed] = requeuer.held
    assert delayed.is_overflow
    assert delayed.release_slot is slot


def test_a_message_that_cannot_be_held_is_requeued_later(caplog: pytest.LogCaptureFixture) -> None:
    """At once, the broker would deliver it in a loop."""
    worker = Worker()
    worker.hold(Requeuer(), SimpleNamespace(channel=None))
    assert worker.timers == [10.0]
    assert "cannot hold a message of another app; it is requeued in 10 s: AttributeError" in caplog.text


def test_a_lost_connection_passes_through() -> None:
    """The broker requeues the message by itself."""
    worker, requeuer = Worker(), Requeuer()

    def lose(_: object) -> None:
        raise ConnectionError

    requeuer.add = lose  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        worker.hold(requeuer, amqp_message())
    assert worker.timers == []


def test_a_requeue_after_the_connection_was_lost_does_nothing() -> None:
    """The broker has requeued the message by itself."""

    def lose() -> None:
        raise ConnectionError

    _requeue(SimpleNamespace(requeue=lose), errors=(ConnectionError,))


def test_celery_names_the_unknown_task_in_its_error() -> None:
    """It may name none."""
    assert _unknown_task_name(KeyError("shop.pay")) == "shop.pay"
    assert _unknown_task_name(KeyError()) is None
