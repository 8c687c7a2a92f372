"""Publisher confirms of RabbitMQ: many messages are published before the first confirmation is awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqp.exceptions import MessageNacked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence


#: Seconds that RabbitMQ has to confirm a message.
CONFIRM_SECONDS = 10.0
#: Seconds that a broker over AMQP has for any reply where somebody waits for it.
REPLY_SECONDS = 1.0


class PublishersBlocked(OSError):
    """The broker reads nothing from publishers, because its memory or its disk is full."""

    def __init__(self) -> None:
        super().__init__("it blocks publishers, because its memory or its disk is full")


class Confirms:
    """Awaits the confirmations of messages that are published on one channel.

    Args:
        channel: a py-amqp channel on which nothing was published yet.
        timeout_seconds: how long the broker may take for the next confirmation.
    """

    def __init__(self, channel: Any, *, timeout_seconds: float = CONFIRM_SECONDS) -> None:
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.connection.on_blocked = self._on_blocked
        channel.connection.on_unblocked = self._on_unblocked
        self._is_blocked = False
        #: The broker numbers the messages of a channel from 1.
        self._last_tag = 0
        #: The key of each unconfirmed message, by tag.
        self._unconfirmed: dict[int, Hashable] = {}
        #: The keys since the last wait, and what became of those that the broker did not take.
        self._keys: list[Hashable] = []
        self._failed: dict[Hashable, Exception] = {}
        self._returned: list[tuple[Hashable, Exception]] = []

    def expect(self, key: Hashable) -> None:
        """Expect a confirmation of the message that is published next.

        Args:
            key: the name of the message in what `wait` returns. By a correlation id it is known which of
                several messages the broker returned.
        """
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = key
        self._keys.append(key)

    def wait(self) -> Mapping[Hashable, Exception]:
        """Wait for all confirmations that are expected.

        Returns:
            The error for each message that the broker did not confirm, by key. An error of the driver leaves
            it unknown whether the broker has the message.
        """
        try:
            while self._unconfirmed:
                self._channel.connection.drain_events(timeout=self._timeout_seconds)
        except Exception as error:
            self.abandon(error)
        return self.failed()

    def failed(self) -> Mapping[Hashable, Exception]:
        """Return the errors that are known by now, and forget them."""
        for key, error in self._returned:
            self._failed |= dict.fromkeys([key] if key in self._keys else self._keys, error)
        failed, self._failed, self._keys, self._returned = self._failed, {}, [], []
        return failed

    def abandon(self, error: Exception) -> None:
        """Give an error to all messages that are not confirmed."""
        self._settle(list(self._unconfirmed), PublishersBlocked() if self._is_blocked else error)

    def publish(self, messages: Sequence[Any], queue: str) -> list[Exception | None]:
        """Publish messages to a queue, and return for each an error, or None if it is confirmed.

        An error of the driver ends the channel, and is returned for every message that was not confirmed
        before.
        """
        unpublished: dict[Hashable, Exception] = {}
        for number, message in enumerate(messages):
            self.expect(number)
            try:
                self._channel._basic_publish(message, exchange="", routing_key=queue, mandatory=True)
            except Exception as error:
                self.abandon(error)
                unpublished = dict.fromkeys(range(number, len(messages)), error)
                break
        failed = {**self.wait(), **unpublished}
        return [failed.get(number) for number in range(len(messages))]

    def _on_ack(self, tag: int, multiple: object) -> None:
        self._settle(self._tags(tag, multiple), None)

    def _on_nack(self, tag: int, multiple: object) -> None:
        self._settle(self._tags(tag, multiple), MessageNacked())

    def _on_return(self, error: Exception, *details: Any) -> None:
        properties = getattr(details[-1], "properties", {}) if details else {}
        self._returned.append((properties.get("correlation_id"), error))

    def _on_blocked(self, _reason: object) -> None:
        self._is_blocked = True

    def _on_unblocked(self) -> None:
        self._is_blocked = False

    def _tags(self, tag: int, multiple: object) -> list[int]:
        return [each for each in self._unconfirmed if each == tag or (multiple and each < tag)]

    def _settle(self, tags: Iterable[int], error: Exception | None) -> None:
        for tag in tags:
            key = self._unconfirmed.pop(tag)
            if error is not None:
                self._failed[key] = error
