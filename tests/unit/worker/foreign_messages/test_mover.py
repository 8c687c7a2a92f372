"""Messages move between queues of an emulated broker, on Redis by a script."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection
from kombu.transport import virtual

from mailctl.worker.foreign_messages.message import BATCH_SIZE, ForeignMessage
from mailctl.worker.foreign_messages.mover import move_all

if TYPE_CHECKING:
    from collections.abc import Iterator


class RedisChannel:
    """A channel to Redis that records the calls of the script."""

    ack_emulation = True
    unacked_key, unacked_index_key, global_keyprefix = "unacked", "unacked_index", "prefix-"

    def __init__(self, *results: Any) -> None:
        self.round_trips = 0
        self.calls: list[tuple[Any, ...]] = []
        self._pending = 0
        self._results = list(results)
        self.qos = SimpleNamespace(_quick_ack=None)

    @contextmanager
    def conn_or_acquire(self) -> Iterator[Any]:
        yield SimpleNamespace(pipeline=lambda *, transaction: self)

    def eval(self, _script: str, count: int, *arguments: Any) -> None:
        self._pending += 1
        self.calls.append((arguments[:count], arguments[count:]))

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        self.round_trips += 1
        count, self._pending = self._pending, 0
        return [self._results.pop(0) if self._results else 1 for _ in range(count)]

    def _get_message_priority(self, _message: Any) -> int:
        return 3

    def _q_for_pri(self, queue: str, priority: int) -> str:
        return f"{queue}:{priority}"


def on_redis(channel: RedisChannel, tag: str, *, raw: Any = None) -> ForeignMessage:
    """Return a message that a channel delivered."""
    message = SimpleNamespace(
        channel=channel,
        delivery_tag=tag,
        delivery_info={"exchange": "", "routing_key": "celery"},
        properties={},
        _state="RECEIVED",
    )
    return ForeignMessage(message=message, raw=raw, queue="celery", task="t", digest=tag, size=0)


@pytest.fixture(autouse=True)
def acknowledged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tags that kombu forgets."""
    tags: list[str] = []
    monkeypatch.setattr(virtual.QoS, "ack", lambda _qos, tag: tags.append(tag))
    return tags


def test_a_message_is_moved_by_its_tag_to_the_list_of_its_priority(acknowledged: list[str]) -> None:
    """All keys have the prefix."""
    channel = RedisChannel()
    assert move_all([on_redis(channel, "a")], "aside") == [None]
    keys, arguments = channel.calls[0]
    assert keys == ("prefix-unacked", "prefix-unacked_index", "prefix-aside:3")
    assert arguments == ("a", "LPUSH", ', "", "celery"]', "")
    assert acknowledged == ["a"]


def test_a_message_that_redis_has_changed_is_passed_to_the_script() -> None:
    """At the head of the queue it is the next one."""
    channel = RedisChannel()
    move_all([on_redis(channel, "a", raw={"body": "x"})], "celery", to_head=True)
    assert channel.calls[0][1][1:] == ("RPUSH", ', "", "celery"]', b'{"body": "x"}')


def test_a_failed_move_leaves_the_message_unacknowledged(acknowledged: list[str]) -> None:
    """Redis may be out of memory for one message, and not for the next."""
    error = ValueError("OOM")
    channel = RedisChannel(error, 1)
    first, second = on_redis(channel, "a"), on_redis(channel, "b")
    assert move_all([first, second], "aside") == [error, None]
    assert acknowledged == ["b"]
    assert (first.message._state, second.message._state) == ("RECEIVED", "ACK")


def test_many_messages_take_one_round_trip_for_each_batch() -> None:
    """A round trip for each message would be slow."""
    channel = RedisChannel()
    messages = [on_redis(channel, str(number)) for number in range(BATCH_SIZE + 1)]
    assert len(move_all(messages, "aside")) == BATCH_SIZE + 1
    assert channel.round_trips == 2


def test_in_memory_a_message_is_put_and_acknowledged() -> None:
    """No messages are no move."""
    assert move_all([], "aside") == []
    with Connection("memory://") as connection:
        channel = connection.default_channel
        channel._new_queue("aside")
        message = SimpleNamespace(channel=channel, ack=lambda: acks.append(1))
        acks: list[int] = []
        foreign = ForeignMessage(message=message, raw={"body": "x"}, queue="q", task="", digest="", size=0)
        assert move_all([foreign], "aside") == [None]
        assert (channel._get("aside"), acks) == ({"body": "x"}, [1])
