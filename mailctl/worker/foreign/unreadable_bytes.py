"""Bytes in a queue of Redis that are no message: no worker can take them, so they are moved aside at once."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError

from mailctl.broker.messages import unclaimed_queue
from mailctl.worker.consumer_guards import UNREADABLE_HANDLER_ATTRIBUTE

_log = logging.getLogger("mailctl.worker")
_POP_COMMAND = "BRPOP"


def preserve_unreadable_bytes(channel: Any) -> None:
    """Let a channel of Redis move what it has taken and cannot read to the list for unclaimed messages."""
    taken = _Taken(channel)
    parse = channel.client.parse_response

    def parse_and_remember(connection: Any, command: str, **options: Any) -> Any:
        reply = parse(connection, command, **options)
        if command == _POP_COMMAND and reply:
            taken.remember(_octets(reply[0]), reply[1])
        return reply

    channel.client.parse_response = parse_and_remember
    setattr(channel, UNREADABLE_HANDLER_ATTRIBUTE, taken)


class _Taken:
    """What a channel has taken from Redis and has not read yet."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._taken: tuple[bytes, bytes] | None = None

    def remember(self, name: bytes, raw: bytes) -> None:
        """Remember what was taken, and the list that it comes from."""
        self._taken = name, raw

    def forget(self) -> None:
        """Forget what was read: it may be large."""
        self._taken = None

    def move_aside(self, error: Exception) -> bool:
        """Move what cannot be read; return whether it is safe."""
        if self._taken is None:
            return False
        name, raw = self._taken
        # Lists of other priorities have a name with a suffix.
        queue, separator, priority = name.decode(errors="replace").partition(self._channel.sep)
        aside = unclaimed_queue(queue)
        try:
            with self._channel.conn_or_acquire() as client:
                client.lpush(aside + separator + priority, raw)
        except RedisError:  # it is full, or gone
            return False
        _log.error("moved what is no message from queue %r to %r (%s)", queue, aside, type(error).__name__)
        return True


def _octets(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
