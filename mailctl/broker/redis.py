"""The broker adapter for Redis.

Celery keeps a queue in Redis as one list for each priority. One hash holds the messages of all queues that
workers have taken and not acknowledged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError

from mailctl.broker.messages import (
    PROBE_BODY,
    BrokerQueue,
    CeleryMessage,
    MessagePosition,
    MessageSearchResult,
    probe_name,
    read_message,
    read_unacked,
    unclaimed_queue,
)
from mailctl.domain.retry_policy import PUBLICATION_NOTE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

#: The number of messages that are read from one queue.
PEEK_LIMIT = 2000
_NOTE_PREFIX = "mailctl.published."


class RedisAdapter:
    """Queries Redis, whose queues can be read without taking messages from them.

    kombu adds its key prefix to the commands that it uses itself; to those of others it is added here.

    Args:
        connection: an open kombu connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def _channel(self) -> Any:
        return self._connection.default_channel

    def ping(self) -> None:
        """Send PING and wait for the answer."""
        self._channel.client.ping()

    def publish_probe(self) -> bool:
        """Add a message to a queue of its own, and delete that queue in the same atomic step."""
        key = probe_name()
        with self._channel.client.pipeline(transaction=True) as pipeline:
            pipeline.lpush(key, PROBE_BODY)
            pipeline.delete(key)
            pipeline.execute()
        return True

    def ready_count(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken."""
        channel = self._channel
        with channel.client.pipeline(transaction=False) as pipeline:
            for key in _list_keys(channel, queue):
                pipeline.llen(key)
            return sum(pipeline.execute())

    def unacked_count(self) -> int:
        """Return how many messages of all queues workers have not acknowledged."""
        channel = self._channel
        return int(channel.client.hlen(channel.unacked_key))

    def consumer_count(self, _queue: str, /) -> None:
        """Return None: Redis does not know who waits for messages."""

    def listener_count(self, exchange: str, /) -> int:
        """Return how many workers receive remote control commands, by a command that is for none of them.

        Redis tells a publisher how many have received its message.
        """
        # The channel's own connection may be waiting for the replies of workers.
        with self._channel.conn_or_acquire() as client:
            return int(client.publish(*self._unanswered_command(exchange)))

    def _unanswered_command(self, exchange: str) -> tuple[str, str]:
        """Return the channel of Celery's remote control, and a command for it that no worker answers."""
        channel = self._channel
        message = channel.prepare_message(
            json.dumps({"method": "ping", "arguments": {}, "destination": [probe_name()]}),
            content_type="application/json",
            content_encoding="utf-8",
        )
        channel._inplace_augment_message(message, exchange, "")
        return channel._get_publish_topic(exchange, ""), json.dumps(message)

    def read_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the contents of these queues, and of all others that have unacknowledged messages."""
        unacked = self._unacked_messages()
        names = dict.fromkeys([*queues, *(message.queue for message in unacked if message.queue)])
        return {name: self._read_queue(name, unacked) for name in names}

    def is_loss_provable(self, exchange: str, workers: int, /) -> bool:
        """Return whether no other worker listens, and this user may write notes.

        Raises:
            ResponseError: Redis writes nothing at all, because it is full or a replica.
        """
        with self._channel.client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("SETEX", self._note_key(probe_name()), 1, 1)
            pipeline.publish(*self._unanswered_command(exchange))
            may_write, listeners = pipeline.execute(raise_on_error=False)
        if isinstance(may_write, Exception) and not isinstance(may_write, NoPermissionError):
            raise may_write
        return may_write is True and isinstance(listeners, int) and listeners <= workers

    def note_publication(self, email_id: str, /) -> None:
        """Write a note, in a key of its own, that an email is about to be published.

        It is written before the message, because a note without a message proves nothing.
        """
        # A Redis user that may not write such keys can still publish, but a loss cannot be proved.
        with suppress(NoPermissionError):
            self._channel.client.execute_command(
                "SETEX", self._note_key(email_id), 2 * PUBLICATION_NOTE_SECONDS, 1
            )

    def find_lost_messages(self, ids: Sequence[str], /) -> frozenset[str]:
        """Return the emails without a note; none if Redis may evict keys, or this user may not write them.

        Args:
            ids: the ids of emails that were published less than `PUBLICATION_NOTE_SECONDS` ago.
        """
        with self._channel.client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("SETEX", self._note_key(probe_name()), 1, 1)
            pipeline.info("stats")
            pipeline.info("memory")
            for each in ids:
                pipeline.exists(self._note_key(each))
            may_write, stats, memory, *are_there = pipeline.execute(raise_on_error=False)
        if may_write is not True or not _keeps_all_keys(stats, memory):
            return frozenset()
        return frozenset(each for each, is_there in zip(ids, are_there, strict=True) if is_there == 0)

    def _note_key(self, email_id: str) -> str:
        return f"{self._channel.global_keyprefix}{_NOTE_PREFIX}{email_id}"

    def find_message(self, task_id: str, queue: str, /) -> MessageSearchResult:
        """Search the first `PEEK_LIMIT` messages of a queue, then the unacknowledged messages."""
        count = 0
        for ahead, message in enumerate(self._next_messages(queue, limit=PEEK_LIMIT)):
            if message.is_for(task_id):
                return _found(MessagePosition(queue=queue, ahead=ahead, message=message))
            count = ahead + 1
        for message in self._unacked_messages():
            if message.is_for(task_id):
                return _found(MessagePosition(queue=message.queue or queue, ahead=None, message=message))
        return MessageSearchResult(position=None, is_complete=count < PEEK_LIMIT)

    def server_setting(self, name: str, /) -> str | None:
        """Return a setting of the server by CONFIG GET; None if the server has no such setting."""
        value = self._channel.client.config_get(name).get(name)
        return value.decode() if isinstance(value, bytes) else value

    def restore_unclaimed(self, queue: str) -> int:
        """Move unclaimed messages back to their queue, each in one atomic step, and return their number."""
        channel = self._channel
        sources, targets = _list_keys(channel, unclaimed_queue(queue)), _list_keys(channel, queue)
        return sum(_move_list(channel, *keys) for keys in zip(sources, targets, strict=True))

    def _read_queue(self, queue: str, unacked: Sequence[CeleryMessage]) -> BrokerQueue:
        return BrokerQueue(
            queue=queue,
            ready=self.ready_count(queue),
            messages=tuple(self._next_messages(queue, limit=PEEK_LIMIT)),
            unacked=tuple(message for message in unacked if message.queue == queue),
            unclaimed=self.ready_count(unclaimed_queue(queue)),
        )

    def _next_messages(self, queue: str, *, limit: int) -> Iterator[CeleryMessage]:
        """Yield the messages of a queue in the order in which workers take them."""
        channel, remaining = self._channel, limit
        for key in _list_keys(channel, queue):
            if not remaining:
                return
            # Workers take from the end of the list.
            found = channel.client.lrange(channel.global_keyprefix + key, -remaining, -1)[::-1]
            remaining -= len(found)
            for raw in found:
                yield read_message(raw, queue=queue)

    def _unacked_messages(self) -> list[CeleryMessage]:
        channel = self._channel
        key = channel.global_keyprefix + channel.unacked_key
        return [read_unacked(raw) for raw in channel.client.hvals(key)]


def _keeps_all_keys(stats: Any, memory: Any) -> bool:
    """Whether Redis has evicted no key; it counts from 0 after each start."""
    if not isinstance(stats, dict) or not isinstance(memory, dict) or stats.get("evicted_keys") != 0:
        return False
    return memory.get("maxmemory") == 0 or memory.get("maxmemory_policy") == "noeviction"


def _found(position: MessagePosition) -> MessageSearchResult:
    return MessageSearchResult(position=position, is_complete=True)


def _list_keys(channel: Any, queue: str) -> list[str]:
    """Return the keys of a queue's lists, the highest priority first."""
    return [channel._q_for_pri(queue, step) for step in channel.priority_steps]


def _move_list(channel: Any, source: str, target: str) -> int:
    """Move the messages that a list has now to another, and return their number."""
    prefix = channel.global_keyprefix
    for moved in range(found := int(channel.client.llen(source))):
        if channel.client.rpoplpush(prefix + source, prefix + target) is None:
            return moved
    return found
