"""The base of the adapters for brokers that count messages but do not show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.broker.messages import BrokerQueue, MessageSearchResult, unclaimed_queue

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: The reply code of AMQP for a queue that does not exist.
_NO_SUCH_QUEUE = "404"


class CountingAdapter:
    """Queries a broker that shows a message only to its consumer.

    Args:
        connection: an open kombu connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def ping(self) -> None:
        """Open and close a channel of its own, which the broker confirms."""
        self._connection.channel().close()

    def publish_probe(self) -> bool:
        """Return False: what such a broker would do with the message is not known."""
        return False

    def ready_count(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken; 0 if there is no such queue."""
        return count_messages(self._connection, queue)

    def unacked_count(self) -> None:
        """Return None: the broker does not report unacknowledged messages."""

    def consumer_count(self, queue: str) -> int | None:
        """Return how many consumers a queue has; 0 if there is no such queue."""
        return _declared(self._connection, queue, "consumer_count")

    def listener_count(self, _exchange: str, /) -> None:
        """Return None: `consumer_count` tells more."""

    def read_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the message counts of queues by name."""
        return {queue: self._read_queue(queue) for queue in queues}

    def is_loss_provable(self, _exchange: str, _workers: int, /) -> bool:
        """Return False: the broker keeps only messages, and no notes."""
        return False

    def note_publication(self, _email_id: str, /) -> None:
        """Do nothing: the broker keeps only messages."""

    def find_lost_messages(self, _ids: Sequence[str], /) -> frozenset[str]:
        """Return nothing: without notes, nothing proves that the broker has lost a message."""
        return frozenset()

    def find_message(self, _task_id: str, _queue: str, /) -> MessageSearchResult:
        """Return an incomplete search."""
        return MessageSearchResult(position=None, is_complete=False)

    def server_setting(self, _name: str, /) -> None:
        """Return None: the broker has no settings that can be read over this connection."""

    def _read_queue(self, queue: str) -> BrokerQueue:
        return BrokerQueue(
            queue=queue,
            ready=self.ready_count(queue),
            messages=None,
            unacked=None,
            unclaimed=self.ready_count(unclaimed_queue(queue)),
        )


def count_messages(connection: Any, queue: str) -> int:
    """Return how many messages a queue has that no worker has taken; 0 if there is no such queue."""
    return _declared(connection, queue, "message_count")


def _declared(connection: Any, queue: str, number: str) -> int:
    """Return a number that a broker tells of a queue; 0 if there is no such queue."""
    # On a channel of its own: the broker closes the channel if there is no such queue.
    with connection.channel() as channel:
        try:
            return int(getattr(channel.queue_declare(queue=queue, passive=True), number))
        except connection.channel_errors as error:
            if is_missing_queue(error):
                return 0
            raise


def is_missing_queue(error: Exception) -> bool:
    """Whether an error of the driver says that a queue does not exist."""
    # kombu's emulation of a broker raises the code as a string.
    return str(getattr(error, "reply_code", None)) == _NO_SUCH_QUEUE
