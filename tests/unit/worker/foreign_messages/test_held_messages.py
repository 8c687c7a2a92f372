"""Held messages are limited in number and size, and wait in the order in which they are due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from mailctl.worker.foreign_messages.held_messages import DelayedMessage, DelayQueue, HeldMessages
from mailctl.worker.foreign_messages.schedule import RequeueSchedule

if TYPE_CHECKING:
    from mailctl.worker.foreign_messages.message import ForeignMessage


def delayed(size: int = 10, *, is_overflow: bool = False) -> DelayedMessage:
    """Return a message with a body of so many bytes."""
    foreign = cast("ForeignMessage", SimpleNamespace(size=size))
    return DelayedMessage(foreign=foreign, release_slot=lambda: None, is_overflow=is_overflow)


def test_the_number_of_messages_is_limited() -> None:
    """A removed message makes room."""
    held = HeldMessages(RequeueSchedule(max_messages=2))
    first, second = delayed(), delayed()
    held.add(first)
    assert not held.is_full
    held.add(second)
    assert held.is_full
    assert held.remove([first]) == [first]
    assert not held.is_full
    assert held.foreign_messages() == [second.foreign]


def test_the_bytes_of_messages_are_limited() -> None:
    """One large message is enough."""
    held = HeldMessages(RequeueSchedule(max_bytes=1000))
    held.add(delayed(999))
    assert not held.is_full
    held.add(delayed(1))
    assert held.is_full


def test_a_message_is_removed_once() -> None:
    """The second removal finds nothing, and counts nothing."""
    held, message = HeldMessages(RequeueSchedule(max_messages=1)), delayed()
    held.add(message)
    assert (held.remove([message]), held.remove([message]), len(held)) == ([message], [], 0)


def test_overflow_messages_have_limits_of_their_own() -> None:
    """By number and by bytes."""
    many, large = HeldMessages(RequeueSchedule()), HeldMessages(RequeueSchedule())
    group = [delayed(is_overflow=True) for _ in range(100)]
    for message in group:
        assert many.has_overflow_room
        many.add(message)
    assert not many.has_overflow_room
    many.remove(group[:1])
    assert many.has_overflow_room
    large.add(delayed(4 * 1024 * 1024, is_overflow=True))
    assert not large.has_overflow_room


def test_regular_messages_leave_room_for_overflow_messages() -> None:
    """However many there are."""
    held = HeldMessages(RequeueSchedule())
    for _ in range(200):
        held.add(delayed())
    assert held.has_overflow_room


def test_messages_are_due_in_order_of_time_then_of_arrival() -> None:
    """What is due later stays."""
    waiting = DelayQueue()
    first, second, third, late = (delayed() for _ in range(4))
    for message, due_at in ((third, 2.0), (first, 1.0), (late, 9.0), (second, 1.0)):
        waiting.push(message, due_at)
    assert waiting.next_due_at == 1.0
    assert waiting.pop_due(now=2.0) == [first, second, third]
    assert (waiting.next_due_at, waiting.pop_due(now=8.9)) == (9.0, [])
    assert waiting.pop_due(now=9.0) == [late]
    assert waiting.next_due_at is None
