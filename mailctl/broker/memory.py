"""The broker adapter for brokers that kombu emulates: `memory://`, and stores without an adapter here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.broker.amqp import count_messages, counted_queue
from mailctl.broker.messages import BrokerQueue, MessageSearchResult, unclaimed_queue

if TYPE_CHECKING:
    from collections.abc import Collection


class MemoryAdapter:
    """Asks kombu's emulation of a broker, which counts messages but does not show them.

    Args:
        connection: an open kombu connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def ping(self) -> None:
        """Open and close a channel."""
        self._connection.default_channel.close()

    def ready_count(self, queue: str) -> int:
        """Return how many messages a queue has; 0 if there is no such queue."""
        return count_messages(self._connection, queue)

    def unacked_count(self) -> None:
        """Return None: the emulation does not count unacknowledged messages."""

    def read_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the message counts of queues by name."""
        return {queue: counted_queue(self._connection, queue) for queue in queues}

    def find_message(self, _task_id: str, _queue: str, /) -> MessageSearchResult:
        """Return an incomplete search: messages cannot be read without taking them."""
        return MessageSearchResult(position=None, is_complete=False)

    def server_setting(self, _name: str, /) -> None:
        """Return None: there is no server."""

    def restore_unclaimed(self, queue: str) -> int:
        """Move the unclaimed messages of a queue back to it, and return their number."""
        channel, source = self._connection.default_channel, unclaimed_queue(queue)
        found = int(channel._size(source))
        for _ in range(found):
            channel._put(queue, channel._get(source))
        return found
