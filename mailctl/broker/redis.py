"""Celery's queues in Redis: a list for each priority, and one hash for what workers have not acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.broker.messages import (
    BrokerQueue,
    CeleryMessage,
    MessagePosition,
    MessageSearchResult,
    read_message,
    read_unacked,
    unclaimed_queue,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Messages that are looked through in one queue.
PEEK_LIMIT = 2000


def queue_keys(channel: Any, queue: str) -> list[str]:
    """Return the lists of a queue, the one that is worked off first before the others."""
    return [channel._q_for_pri(queue, step) for step in channel.priority_steps]


def ready_count(channel: Any, queue: str) -> int:
    """Return how many messages a queue has that no worker has taken."""
    return sum(channel.client.llen(key) for key in queue_keys(channel, queue))


def next_messages(channel: Any, queue: str, *, limit: int) -> Iterator[CeleryMessage]:
    """Go through the messages of a queue in the order in which workers take them."""
    left = limit
    for key in queue_keys(channel, queue):
        if not left:
            return
        # The next message to be taken is at the end of the list.
        found = channel.client.lrange(key, -left, -1)[::-1]
        left -= len(found)
        for raw in found:
            yield read_message(raw, queue=queue)


def unacked_messages(channel: Any) -> list[CeleryMessage]:
    """Return the messages of all queues that workers have and have not acknowledged."""
    return [read_unacked(raw) for raw in channel.client.hvals(channel.unacked_key)]


def unacked_count(channel: Any) -> int:
    """Return how many messages of all queues workers have not acknowledged."""
    return int(channel.client.hlen(channel.unacked_key))


def find_message(channel: Any, task_id: str, queue: str) -> MessageSearchResult:
    """Look for a message among the first `PEEK_LIMIT` of a queue and those that workers have."""
    waiting = 0
    for position, message in enumerate(next_messages(channel, queue, limit=PEEK_LIMIT)):
        if message.is_for(task_id):
            return MessageSearchResult(
                position=MessagePosition(queue=queue, ahead=position, message=message), is_complete=True
            )
        waiting = position + 1
    for message in unacked_messages(channel):
        if message.is_for(task_id):
            place = MessagePosition(queue=message.queue or queue, ahead=None, message=message)
            return MessageSearchResult(position=place, is_complete=True)
    return MessageSearchResult(position=None, is_complete=waiting < PEEK_LIMIT)


def read_queue(channel: Any, queue: str, taken: Sequence[CeleryMessage]) -> BrokerQueue:
    """Return what a queue has.

    Args:
        taken: what workers have of all queues.
    """
    return BrokerQueue(
        queue=queue,
        ready=ready_count(channel, queue),
        messages=tuple(next_messages(channel, queue, limit=PEEK_LIMIT)),
        unacked=tuple(message for message in taken if message.queue == queue),
        unclaimed=ready_count(channel, unclaimed_queue(queue)),
    )
