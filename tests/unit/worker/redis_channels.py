"""A stand-in for a kombu channel to Redis: what workers have taken, and their heartbeats."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UNACKED, INDEX = "unacked", "unacked_index"


class Redis:
    """Hashes, sorted sets and lists, with the commands that a worker uses."""

    def __init__(self, *, refuses: Mapping[str, Exception] | None = None, time: float = 0.0) -> None:
        self.hashes: dict[str, dict[str, bytes]] = {UNACKED: {}}
        self.scores: dict[str, dict[str, float]] = {}
        self.lists: dict[str, list[bytes]] = {}
        self._refuses = refuses or {}
        self._time = time

    def _allow(self, command: str) -> None:
        if command in self._refuses:
            raise self._refuses[command]

    def time(self) -> tuple[int, int]:
        self._allow("time")
        return int(self._time), 0

    def hget(self, key: str, tag: Any) -> bytes | None:
        return self.hashes[key].get(_text(tag))

    def hdel(self, key: str, tag: Any) -> Redis:
        self.hashes[key].pop(_text(tag), None)
        return self

    def zscore(self, key: str, tag: Any) -> float | None:
        return self.scores.get(key, {}).get(_text(tag))

    def zadd(self, key: str, scores: Mapping[str, float], *, xx: bool = False) -> Redis:
        self._allow("zadd")
        known = self.scores.setdefault(key, {})
        known.update({tag: at for tag, at in scores.items() if not xx or tag in known})
        return self

    def zrem(self, key: str, tag: Any) -> Redis:
        self._allow("zrem")
        self.scores.get(key, {}).pop(_text(tag), None)
        return self

    def zrange(
        self, key: str, low: float, high: float, *, byscore: bool, offset: int, num: int
    ) -> list[bytes]:
        assert byscore
        found = sorted((at, tag) for tag, at in self.scores.get(key, {}).items() if low <= at <= high)
        return [tag.encode() for _, tag in found[offset : offset + num]]

    def lpush(self, key: str, value: bytes) -> Redis:
        self.lists.setdefault(key, []).insert(0, value)
        return self

    def pipeline(self, *, transaction: bool = True) -> Redis:
        return self

    def execute(self, *, raise_on_error: bool = True) -> None:
        """Do nothing: each command was executed at once."""


class Channel:
    """A channel of a worker, whose queue has the name of the routing key."""

    ack_emulation = True
    unacked_key, unacked_index_key = UNACKED, INDEX
    global_keyprefix = ""
    visibility_timeout = 300

    def __init__(self, client: Redis | None = None) -> None:
        self.client = client or Redis()
        self.qos = SimpleNamespace(
            _delivered={},
            append=self._store,
            _remove_from_indices=lambda tag, _=None: self.client.zrem(INDEX, tag).hdel(UNACKED, tag),
            pipe_or_acquire=None,
        )
        del self.qos.pipe_or_acquire
        self.piped: Callable[[], Any] | None = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        yield client or self.client

    def _store(self, _message: Any, tag: str) -> None:
        with self.qos.pipe_or_acquire() as pipe:
            pipe.zadd(INDEX, {tag: 1.0})

    def _lookup(self, _exchange: str | None, routing_key: str) -> list[str]:
        return [routing_key]

    def keep(self, tag: str, *, task: str = "ours", queue: str = "celery", taken_at: float = 0.0) -> None:
        """Keep a message as unacknowledged."""
        self.client.hashes[UNACKED][tag] = stored(task, queue)
        self.client.scores.setdefault(INDEX, {})[tag] = taken_at


def stored(task: str, queue: str = "celery") -> bytes:
    """Return a message as kombu keeps it until it is acknowledged."""
    properties = {"delivery_info": {"exchange": "", "routing_key": queue}, "delivery_tag": "t"}
    message = {"body": "", "headers": {"task": task, "id": "1"}, "properties": properties}
    return json.dumps([message, "", queue]).encode()


def _text(tag: Any) -> str:
    return tag.decode() if isinstance(tag, bytes) else str(tag)
