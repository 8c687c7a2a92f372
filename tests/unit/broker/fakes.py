"""Stand-ins for a kombu connection to Redis and for a py-amqp message."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeRedis:
    """Lists and one hash, with the commands that the adapter uses."""

    def __init__(self) -> None:
        self.lists: dict[str, list[bytes]] = {}
        self.unacked: dict[str, bytes] = {}
        self.settings: dict[str, Any] = {"maxmemory-policy": "noeviction"}

    def ping(self) -> bool:
        return True

    @contextmanager
    def pipeline(self, *, transaction: bool) -> Iterator[FakePipeline]:
        assert not transaction
        yield FakePipeline(self)

    def llen(self, key: str) -> int:
        return len(self.lists.get(key, []))

    def lrange(self, key: str, start: int, end: int) -> list[bytes]:
        assert end == -1
        return self.lists.get(key, [])[start:]

    def rpoplpush(self, source: str, target: str) -> bytes | None:
        if not self.lists.get(source):
            return None
        value = self.lists[source].pop()
        self.lists.setdefault(target, []).insert(0, value)
        return value

    def hvals(self, _key: str) -> list[bytes]:
        return list(self.unacked.values())

    def hlen(self, _key: str) -> int:
        return len(self.unacked)

    def config_get(self, name: str) -> dict[str, Any]:
        return {name: self.settings[name]} if name in self.settings else {}


class FakePipeline:
    """Commands that are sent together."""

    def __init__(self, client: FakeRedis) -> None:
        self._client = client
        self._lengths: list[int] = []

    def llen(self, key: str) -> None:
        self._lengths.append(self._client.llen(key))

    def execute(self) -> list[int]:
        return self._lengths


def redis_connection(client: FakeRedis) -> Any:
    """Return a connection with a channel that has two priorities, 0 and 3."""
    channel = SimpleNamespace(
        client=client,
        priority_steps=[0, 3],
        unacked_key="unacked",
        global_keyprefix="",
        _q_for_pri=lambda queue, step: f"{queue}:{step}" if step else queue,
    )
    transport = SimpleNamespace(driver_type="redis")
    return SimpleNamespace(default_channel=channel, transport=transport)


def redis_message(
    task_id: str, *, task: str = "a.task", args: Any = (), kwargs: Any = None, key: str = ""
) -> bytes:
    """Return a message as Celery stores it in a list of Redis."""
    body = base64.b64encode(json.dumps([list(args), kwargs or {}, {}]).encode()).decode()
    envelope = {
        "body": body,
        "headers": {"id": task_id, "task": task},
        "properties": {"delivery_info": {"routing_key": key}},
    }
    return json.dumps(envelope).encode()


def unacked_message(task_id: str, queue: str) -> bytes:
    """Return an element of the hash of unacknowledged messages."""
    return json.dumps([json.loads(redis_message(task_id, key=queue)), "", queue]).encode()
