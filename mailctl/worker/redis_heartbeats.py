"""Heartbeats of the messages that workers have taken from Redis: without one, the worker has died.

By themselves such messages return after the visibility timeout, which has to be long: it also counts for the
workers of other apps, which send no heartbeats.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_log = logging.getLogger("mailctl.worker")

#: What follows the key of kombu's index of unacknowledged messages in the key of the sorted set that has, for
#: the tag of each message, the time of its last heartbeat by the clock of Redis.
KEY_SUFFIX = "_mailctl"
#: Seconds without a heartbeat after which a worker counts as dead, and how many it has missed at least.
SILENCE_SECONDS = 30.0
_MISSED_HEARTBEATS = 3
#: Seconds between heartbeats, which kombu's timer sets; before kombu 5.7 it could not be changed.
_DEFAULT_INTERVAL_SECONDS = 10.0
#: Tags that are looked at in one search.
_SEARCH_LIMIT = 100


class MessageHeartbeats:
    """The heartbeats of the messages of one Redis channel.

    Args:
        channel: an open kombu channel to Redis.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.key = f"{channel.unacked_index_key}{KEY_SUFFIX}"
        #: How much the clock of Redis is ahead of this host's, in seconds.
        self._offset = 0.0
        self.is_enabled = self._may_use_key()
        if self.is_enabled:
            self._end_with_message(channel.qos)

    def _may_use_key(self) -> bool:
        """Whether the user of Redis may use the key, and Redis has the commands."""
        try:
            self.renew(())
            self.find_silent()
            self.forget("")
        except RedisError as error:
            _log.debug("messages of killed workers return later: %s", type(error).__name__)
            return False
        return True

    def _end_with_message(self, qos: Any) -> None:
        """Make whatever ends a message end its heartbeats in the same transaction."""
        remove = qos._remove_from_indices

        def remove_with_heartbeat(tag: str, pipe: Any = None) -> Any:
            return remove(tag, pipe).zrem(self.key, tag)

        qos._remove_from_indices = remove_with_heartbeat

    def begin_with(self, append: Callable[..., None]) -> Callable[..., None]:
        """Return kombu's method that records a message as taken, with the first heartbeat in one transaction.

        Args:
            append: kombu's method.
        """
        if not self.is_enabled:
            return append
        qos = self._channel.qos

        def append_with_heartbeat(message: Any, tag: str) -> None:
            qos.pipe_or_acquire = lambda: self._pipe(tag)
            try:
                append(message, tag)
            finally:
                del qos.pipe_or_acquire

        return append_with_heartbeat

    @contextmanager
    def _pipe(self, tag: str) -> Iterator[Any]:
        with self._channel.conn_or_acquire() as client:
            yield client.pipeline().zadd(self.key, {tag: self.now()})

    def renew(self, tags: Collection[str]) -> None:
        """Send a heartbeat for messages that this worker still has.

        Raises:
            RedisError: Redis does not answer, or refuses.
        """
        with self._channel.conn_or_acquire() as client:
            seconds, microseconds = client.time()
            self._offset = seconds + microseconds / 1e6 - time.time()
            if tags:
                # Not again for one that has been ended meanwhile.
                client.zadd(self.key, dict.fromkeys(tags, self.now()), xx=True)

    def find_silent(self) -> list[str]:
        """Return the tags of messages whose workers have sent no heartbeat for long.

        Raises:
            RedisError: Redis does not answer, or refuses.
        """
        interval = getattr(self._channel, "unacked_restore_interval", _DEFAULT_INTERVAL_SECONDS)
        before = self.now() - max(SILENCE_SECONDS, _MISSED_HEARTBEATS * interval)
        with self._channel.conn_or_acquire() as client:
            found = client.zrange(self.key, 0, before, byscore=True, offset=0, num=_SEARCH_LIMIT)
        return [tag.decode() for tag in found]

    def forget(self, tag: str) -> None:
        """Delete the heartbeat of a message.

        Raises:
            RedisError: Redis does not answer, or refuses.
        """
        with self._channel.conn_or_acquire() as client:
            client.zrem(self.key, tag)

    def now(self) -> float:
        """Return the time by the clock of Redis, as far as it is known."""
        return time.time() + self._offset
