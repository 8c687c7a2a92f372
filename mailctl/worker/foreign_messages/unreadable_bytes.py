"""Moves aside bytes in a Redis queue that no worker can decode."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError

from mailctl.broker.messages import unclaimed_queue
from mailctl.worker.redis_pop import pop_of
from mailctl.worker.redis_unacked import POPPED_HANDLER_ATTRIBUTE

_log = logging.getLogger("mailctl.worker")
_POP_COMMAND = "BRPOP"


def preserve_unreadable_bytes(channel: Any) -> None:
    """Make a Redis channel move bytes that it cannot decode to the list for unclaimed messages."""
    popped = _PoppedBytes(channel)
    parse = channel.client.parse_response

    def parse_and_remember(connection: Any, command: str, **options: Any) -> Any:
        reply = parse(connection, command, **options)
        if command == _POP_COMMAND and reply:
            popped.remember(_as_bytes(reply[0]), reply[1])
        return reply

    channel.client.parse_response = parse_and_remember
    setattr(channel, POPPED_HANDLER_ATTRIBUTE, popped)


class _PoppedBytes:
    """The bytes that a channel popped from a list in Redis and has not decoded yet."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._popped: tuple[bytes, bytes] | None = None

    def remember(self, key: bytes, raw: bytes) -> None:
        """Remember bytes and the key of their list."""
        self._popped = key, raw

    def forget(self) -> None:
        """Forget the bytes, which may be large."""
        self._popped = None

    def move_aside(self, error: Exception) -> bool:
        """Move the bytes to the list for unclaimed messages, and return whether that worked.

        Args:
            error: the error that decoding them raised.
        """
        if self._popped is None:
            return False
        key, raw = self._popped
        # The keys of lists with other priorities have a suffix.
        queue, separator, priority = key.decode(errors="replace").partition(self._channel.sep)
        target = unclaimed_queue(queue)
        try:
            with self._channel.conn_or_acquire() as client:
                pipe = client.pipeline().lpush(target + separator + priority, raw)
                pop = pop_of(self._channel)
                if pop is not None and pop.recorded_tag:
                    self._channel.qos._remove_from_indices(pop.recorded_tag, pipe)
                pipe.execute()
        except RedisError:  # it is out of memory, or gone
            return False
        if pop is not None:
            pop.settle()
        name = type(error).__name__
        _log.error("moved an unreadable message from queue %r to %r (%s)", queue, target, name)
        return True

    def put_back(self) -> None:
        """Return the bytes to the head of their list, because Redis did not store them as unacknowledged."""
        if self._popped is None:
            return
        try:
            with self._channel.conn_or_acquire() as client:
                client.rpush(*self._popped)
        except RedisError as error:
            _log.error("cannot put a message back on its queue: %s", error)


def _as_bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
