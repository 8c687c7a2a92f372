"""Each published message has its confirmation, or the reason why there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amqp.exceptions import MessageNacked

from mailctl.broker.confirms import Confirms


class Channel:
    """A channel on which the broker answers a batch at once."""

    def __init__(self) -> None:
        self.events: dict[str, set[Any]] = {
            name: set() for name in ("basic_ack", "basic_nack", "basic_return")
        }
        self.connection = SimpleNamespace(drain_events=self._drain)
        self.answers: list[tuple[str, tuple[Any, ...]]] = []
        self.is_selected = False

    def confirm_select(self) -> None:
        self.is_selected = True

    def _basic_publish(self, message: Any, **options: Any) -> None:
        assert options == {"exchange": "", "routing_key": "q", "mandatory": True}
        if isinstance(message, Exception):
            raise message

    def _drain(self, *, timeout: float) -> None:
        name, arguments = self.answers.pop(0)
        [receive] = self.events[name]
        receive(*arguments)


def publish(
    channel: Channel, confirms: Confirms, count: int, *answers: tuple[str, tuple[Any, ...]]
) -> list[Any]:
    channel.answers = list(answers)
    return confirms.publish([str(number) for number in range(count)], "q")


def test_a_confirmation_may_count_for_all_messages_before_it() -> None:
    """The broker numbers the messages of a channel, not of a batch."""
    channel = Channel()
    confirms = Confirms(channel)
    assert channel.is_selected
    assert publish(channel, confirms, 3, ("basic_ack", (3, True))) == [None] * 3
    assert publish(channel, confirms, 2, ("basic_ack", (5, False)), ("basic_ack", (4, False))) == [None] * 2


def test_a_rejected_message_has_an_error() -> None:
    """The others are confirmed."""
    channel = Channel()
    errors = publish(channel, Confirms(channel), 2, ("basic_nack", (1, False)), ("basic_ack", (2, False)))
    assert isinstance(errors[0], MessageNacked)
    assert errors[1] is None


def test_a_returned_message_is_an_error_for_the_whole_batch() -> None:
    """The broker does not say which message it returned."""
    channel, error = Channel(), ValueError("no route")
    errors = publish(channel, Confirms(channel), 2, ("basic_return", (error,)), ("basic_ack", (2, True)))
    assert errors == [error, error]


def test_an_error_of_the_driver_counts_for_what_is_not_confirmed() -> None:
    """It ends the channel."""
    channel, error = Channel(), OSError("connection lost")
    errors = Confirms(channel).publish(["a", error, "c"], "q")
    assert errors == [error] * 3
