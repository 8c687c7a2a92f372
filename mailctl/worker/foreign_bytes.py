"""Bytes in a queue of Redis that are no message: no worker can take them, so they are moved aside at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from mailctl.carried import unclaimed_queue
from mailctl.worker.rubbish import KEEP

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
_TAKE = "BRPOP"


def keep_bytes(channel: Any) -> None:
    """Let a channel of Redis move what it has taken and cannot read to the list for unclaimed messages."""
    taken: list[tuple[bytes, bytes]] = []
    parse = channel.client.parse_response

    def parse_and_remember(connection: Any, command: str, **options: Any) -> Any:
        reply = parse(connection, command, **options)
        if command == _TAKE:
            taken[:] = [(_octets(reply[0]), reply[1])] if reply else []
        return reply

    channel.client.parse_response = parse_and_remember
    setattr(channel, KEEP, _keeper(channel, taken))


def _keeper(channel: Any, taken: list[tuple[bytes, bytes]]) -> Callable[[Exception], bool]:
    def keep(error: Exception) -> bool:
        if not taken:
            return False
        name, raw = taken.pop()
        # Lists of other priorities have a name with a suffix.
        queue, separator, priority = name.decode(errors="replace").partition(channel.sep)
        aside = unclaimed_queue(queue)
        try:
            with channel.conn_or_acquire() as client:
                client.lpush(aside + separator + priority, raw)
        except RedisError:  # it is full, or gone
            return False
        _log.error("moved what is no message from queue %r to %r (%s)", queue, aside, type(error).__name__)
        return True

    return keep


def _octets(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
