"""The protocol that every broker adapter implements, and the choice of the adapter for a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mailctl.broker.amqp import AmqpAdapter
from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.broker.memory import MemoryAdapter
from mailctl.broker.redis import RedisAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mailctl.broker.messages import BrokerQueue, MessageSearchResult


class BrokerAdapter(Protocol):
    """Queries one type of broker over an open connection; errors of the driver pass through."""

    def ping(self) -> None:
        """Wait for one round trip to the broker."""

    def publish_probe(self) -> bool:
        """Publish a message that no queue keeps; return False if this type of broker has no way to do so."""

    def ready_count(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken; 0 if there is no such queue."""

    def unacked_count(self) -> int | None:
        """Return how many messages of all queues are unacknowledged; None if the broker does not say."""

    def consumer_count(self, queue: str) -> int | None:
        """Return how many consumers a queue has; None if the broker does not say."""

    def listener_count(self, exchange: str, /) -> int | None:
        """Return how many workers receive what is published to an exchange for all; None if unknown.

        Args:
            exchange: the name of the exchange of Celery's remote control.
        """

    def read_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the contents of queues by name, as far as the broker shows them."""

    def is_loss_provable(self, exchange: str, workers: int, /) -> bool:
        """Return whether a missing note would prove that the broker has lost a message.

        It would not if a worker without this log may have taken the message first.

        Args:
            exchange: the name of the exchange of Celery's remote control.
            workers: the number of live workers that share the log.
        """

    def note_publication(self, email_id: str, /) -> None:
        """Write a note to the broker, if it keeps notes, that an email is about to be published."""

    def find_lost_messages(self, ids: Sequence[str], /) -> frozenset[str]:
        """Return the ids of emails whose messages the broker never got, or lost with all its data."""

    def find_message(self, task_id: str, queue: str, /) -> MessageSearchResult:
        """Search for a task's message in a queue and among the unacknowledged messages."""

    def server_setting(self, name: str, /) -> str | None:
        """Return a setting of the server; None if the broker has no settings that can be read."""

    def restore_unclaimed(self, queue: str) -> int:
        """Move the unclaimed messages of a queue back to it, in order, and return their number.

        Raises:
            NotFound: the broker has no such queue.
        """


_ADAPTERS: Mapping[BrokerType, Callable[[Any], BrokerAdapter]] = {
    BrokerType.REDIS: RedisAdapter,
    BrokerType.AMQP: AmqpAdapter,
    BrokerType.MEMORY: MemoryAdapter,
}


def adapter_for(connection: Any) -> BrokerAdapter:
    """Return the adapter for the broker that a kombu connection leads to."""
    return _ADAPTERS[broker_type_of(connection)](connection)
