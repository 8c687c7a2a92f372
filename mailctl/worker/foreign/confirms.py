"""Publisher confirms of RabbitMQ: many messages are published before the first confirmation is awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqp.exceptions import MessageNacked

from mailctl.broker.amqp import CONFIRM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Confirms:
    """Publishes messages on a channel that is used for nothing else.

    Args:
        channel: a newly opened py-amqp channel.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        #: The broker numbers the messages of a channel from 1.
        self._last_tag = 0
        #: The position in the batch of each unconfirmed message, by tag.
        self._unconfirmed: dict[int, int] = {}
        self._errors: list[Exception | None] = []
        self._returned: Exception | None = None

    def publish(self, messages: Sequence[Any], queue: str) -> list[Exception | None]:
        """Publish messages to a queue, and return for each an error, or None if it is confirmed.

        An error of the driver ends the channel, and is returned for every message that was not confirmed
        before.
        """
        self._errors, self._unconfirmed, self._returned = [None] * len(messages), {}, None
        try:
            for number in range(len(messages)):
                self._unconfirmed[self._last_tag + 1 + number] = number
            for message in messages:
                self._last_tag += 1
                self._channel._basic_publish(message, exchange="", routing_key=queue, mandatory=True)
            while self._unconfirmed:
                self._channel.connection.drain_events(timeout=CONFIRM_SECONDS)
        except Exception as error:
            self._settle(list(self._unconfirmed), error)
        if self._returned is not None:
            # The broker does not say which message it returned.
            return [self._returned] * len(messages)
        return self._errors

    def _on_ack(self, tag: int, multiple: object) -> None:
        self._settle(self._tags(tag, multiple), None)

    def _on_nack(self, tag: int, multiple: object) -> None:
        self._settle(self._tags(tag, multiple), MessageNacked())

    def _on_return(self, error: Exception, *_: object) -> None:
        self._returned = error

    def _tags(self, tag: int, multiple: object) -> list[int]:
        return [each for each in self._unconfirmed if each == tag or (multiple and each < tag)]

    def _settle(self, tags: Sequence[int], error: Exception | None) -> None:
        for tag in tags:
            self._errors[self._unconfirmed.pop(tag)] = error
