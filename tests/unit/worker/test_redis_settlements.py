"""Settlements on Redis are repeated until Redis confirms them, in order, and each once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from mailctl.worker.redis_settlements import PendingSettlements, return_unrecorded

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

CHANNEL: Any = "the channel"


def noting(done: list[str], name: str, *, failures: int = 0) -> Callable[[Any], None]:
    """Return a settlement that fails so many times, and notes that it was confirmed."""
    left = iter(range(failures))

    def settle(channel: Any) -> None:
        assert channel is CHANNEL
        if next(left, None) is not None:
            raise RedisConnectionError("silent")
        done.append(name)

    return settle


def test_settlements_are_repeated_in_order() -> None:
    """The first that fails holds up the others, because Redis is away for all of them."""
    done: list[str] = []
    pending = PendingSettlements()
    for name, failures in (("a", 0), ("b", 2), ("c", 0)):
        pending.add(noting(done, name, failures=failures))
    pending.settle(CHANNEL)
    assert (done, len(pending)) == (["a"], 2)
    pending.settle(CHANNEL)
    pending.settle(CHANNEL)
    assert (done, len(pending)) == (["a", "b", "c"], 0)
    pending.settle(CHANNEL)
    assert done == ["a", "b", "c"]


def test_an_outage_is_said_once_and_its_end_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """However many settlements fail in it."""
    caplog.set_level(logging.INFO, logger="mailctl.worker")
    done: list[str] = []
    pending = PendingSettlements()
    for name in "abc":
        pending.add_failed(noting(done, name), RedisConnectionError("away"))
    pending.settle(CHANNEL)
    assert caplog.messages == [
        "Redis has not confirmed that a message was acknowledged or returned (ConnectionError); trying again"
        " until it does",
        "Redis has confirmed the acknowledgement or return of 3 messages",
    ]


def test_a_settlement_may_add_another() -> None:
    """It is settled the next time: a message that is put back is then no longer unacknowledged."""
    done: list[str] = []
    pending = PendingSettlements()
    pending.add(lambda _: pending.add(noting(done, "second")))
    pending.settle(CHANNEL)
    assert (done, len(pending)) == ([], 1)
    pending.settle(CHANNEL)
    assert done == ["second"]


class Channel:
    """A channel whose Redis has, or has not, recorded a message as unacknowledged."""

    unacked_key = "unacked"

    def __init__(self, *, has_it: bool) -> None:
        self._has_it = has_it
        self.pushed: list[tuple[str, str]] = []
        self.restored: list[str] = []
        self.qos = Restorer(self.restored)

    def conn_or_acquire(self) -> Channel:
        return self

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def hexists(self, _key: str, _tag: str) -> bool:
        return self._has_it

    def rpush(self, key: str, value: str) -> None:
        self.pushed.append((key, value))

    def _get_message_priority(self, _raw: Any, *, reverse: bool) -> int:
        return int(reverse)

    def _lookup(self, _exchange: str, routing_key: str) -> list[str]:
        return [routing_key]

    def _q_for_pri(self, queue: str, priority: int) -> str:
        return f"{queue}:{priority}"


class Restorer:
    """The part of a channel that restores messages."""

    def __init__(self, restored: list[str]) -> None:
        self._restored = restored

    def restore_by_tag(self, tag: str, *, leftmost: bool) -> None:
        assert not leftmost
        self._restored.append(tag)


def test_a_message_that_only_this_process_has_is_put_back() -> None:
    """And its late record is removed afterwards, so that it is not there twice."""
    pending, channel = PendingSettlements(), Channel(has_it=False)
    return_unrecorded(pending, {"body": "x"}, "", "celery", "tag")(channel)
    assert channel.pushed == [("celery:0", '{"body": "x"}')]
    assert (channel.restored, len(pending)) == ([], 1)


def test_a_message_that_redis_has_recorded_is_restored_by_its_tag() -> None:
    """Then there is nothing more to do."""
    pending, channel = PendingSettlements(), Channel(has_it=True)
    return_unrecorded(pending, {"body": "x"}, "", "celery", "tag")(channel)
    assert (channel.pushed, channel.restored, len(pending)) == ([], ["tag"], 0)
