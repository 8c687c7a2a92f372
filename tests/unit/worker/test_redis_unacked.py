"""A worker restores only messages of its own queues that can be read, and only when they are due."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker import state
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from mailctl.worker.private_request import PrivateTask
from mailctl.worker.redis_heartbeats import KEY_SUFFIX, MessageHeartbeats
from mailctl.worker.redis_settlements import PendingSettlements
from mailctl.worker.redis_unacked import (
    _FOREIGN_VISIBILITY_SECONDS,
    POPPED_HANDLER_ATTRIBUTE,
    _append,
    _read_stored,
    _restore,
    _return_silent,
)
from tests.unit.worker.redis_channels import INDEX, UNACKED, Channel, Redis, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENT: Any = None


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    """A worker that is not stopping, and is working on nothing."""
    kept = state.should_stop, state.should_terminate
    state.should_stop = state.should_terminate = None
    yield
    state.should_stop, state.should_terminate = kept


class App:
    """An app that consumes one queue, and has a task of mailctl and one of the service."""

    tasks: Mapping[str, Any] = {"ours": PrivateTask(), "theirs": None}
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from={"celery": None}))
    conf = SimpleNamespace(task_default_queue="celery")


def restored(channel: Channel, tag: str | bytes) -> list[tuple[Any, ...]]:
    """Let a worker restore a message; return how kombu was called."""
    calls: list[tuple[Any, ...]] = []

    def restore(*args: Any) -> None:
        calls.append(args)

    _restore(channel, PendingSettlements(), restore, App(), tag, CLIENT)  # type: ignore[arg-type]
    return calls


def test_a_message_for_a_task_of_this_app_is_restored() -> None:
    """kombu calls this for messages that are older than the visibility timeout."""
    channel = Channel()
    channel.keep("t1")
    assert [call[0] for call in restored(channel, b"t1")] == [b"t1"]


@pytest.mark.parametrize(
    ("how", "is_restored"),
    [
        ({"queue": "billing"}, False),
        ({"task": "of another app", "taken_at": time.time()}, False),
        ({"task": "of another app", "taken_at": time.time() - _FOREIGN_VISIBILITY_SECONDS - 60}, True),
    ],
    ids=["of a queue of others", "of another app", "of another app, long ago"],
)
def test_a_message_of_others_is_left_to_them(how: dict[str, Any], is_restored: bool) -> None:
    """Of another app it is restored when any of its workers would."""
    channel = Channel()
    channel.keep("t1", **how)
    assert bool(restored(channel, "t1")) == is_restored
    assert "t1" in channel.client.hashes[UNACKED]


@pytest.mark.parametrize("prefix", ["", "shop."])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_worker_without_heartbeats_keeps_what_it_has_for_an_hour(is_ours: bool, prefix: str) -> None:
    """It is of another program, and would execute the task that this worker has executed meanwhile."""
    channel = Channel()
    channel.global_keyprefix = prefix
    channel.keep("t1")
    scores = channel.client.scores
    del scores[INDEX]
    scores[f"{prefix}{INDEX}"] = {"t1": time.time() - _FOREIGN_VISIBILITY_SECONDS + 60}
    scores[f"{prefix}{INDEX}{KEY_SUFFIX}"] = {"t1": 0.0} if is_ours else {}
    assert bool(restored(channel, "t1")) is is_ours


def test_a_message_that_is_gone_is_left_to_kombu() -> None:
    """It removes what is left of it."""
    assert len(restored(Channel(), "gone")) == 1


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'["x", "", "celery"]', stored("ours").replace(b'"celery"]', b'""]'), b"\xff"]
)
def test_what_cannot_be_read_is_moved_aside(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It would end the worker when it starts, or prevent it from restoring the others."""
    channel = Channel()
    channel.keep("t1")
    channel.client.hashes[UNACKED]["t1"] = content
    assert restored(channel, "t1") == []
    assert channel.client.lists == {"celery.unclaimed": [content]}
    assert (channel.client.hashes[UNACKED], channel.client.scores[INDEX]) == ({}, {})
    assert "moved an unreadable unacknowledged message to 'celery.unclaimed'" in caplog.text


def test_a_message_of_this_worker_waits_until_its_connection_is_back() -> None:
    """It goes back at once if the worker stops."""
    channel, pending = Channel(), PendingSettlements()
    channel.keep("t1")
    channel.qos._delivered["t1"] = None
    calls: list[Any] = []

    def restore(*args: Any) -> None:
        calls.append(args)

    _restore(channel, pending, restore, App(), "t1", CLIENT)  # type: ignore[arg-type]
    assert (calls, len(pending)) == ([], 1)
    state.should_stop = 0
    _restore(channel, pending, restore, App(), "t1", CLIENT)  # type: ignore[arg-type]
    assert (len(calls), len(pending)) == (1, 1)


def test_a_message_is_read_as_kombu_stored_it() -> None:
    """With its exchange and its routing key."""
    message, exchange, routing_key = _read_stored(stored("ours", "billing"))
    assert (message["headers"]["task"], exchange, routing_key) == ("ours", "", "billing")


def test_a_message_that_redis_does_not_store_goes_back_to_its_queue() -> None:
    """Redis executes the other command of a transaction although one has failed."""
    channel, put_back = Channel(), []
    channel.keep("t1")
    setattr(channel, POPPED_HANDLER_ATTRIBUTE, SimpleNamespace(put_back=lambda: put_back.append(True)))

    def refuse(_message: Any, _tag: str) -> None:
        raise ResponseError("OOM")

    with pytest.raises(ResponseError):
        _append(channel, PendingSettlements(), refuse, None, "t1")
    assert put_back == [True]
    assert (channel.client.hashes[UNACKED], channel.client.scores[INDEX]) == ({}, {})


def test_a_message_that_redis_may_have_stored_is_settled_later() -> None:
    """Only this process may have a copy."""
    pending = PendingSettlements()
    info = {"exchange": "", "routing_key": "celery"}

    def lose(_message: Any, _tag: str) -> None:
        raise RedisConnectionError("away")

    message = SimpleNamespace(delivery_info=info, _raw={})
    with pytest.raises(RedisConnectionError):
        _append(Channel(), pending, lose, message, "t1")
    assert len(pending) == 1


def test_messages_of_a_dead_worker_return_at_once() -> None:
    """Those for tasks of mailctl alone; heartbeats of what is gone are forgotten."""
    client = Redis(time=time.time())
    channel = Channel(client)
    heartbeats = MessageHeartbeats(channel)
    channel.keep("ours")
    channel.keep("theirs", task="theirs")
    channel.keep("elsewhere", queue="billing")
    key = f"{INDEX}{KEY_SUFFIX}"
    client.zadd(key, dict.fromkeys(("ours", "theirs", "elsewhere", "gone"), 1.0))
    returned: list[str] = []

    class Qos(SimpleNamespace):
        def restore_by_tag(self, tag: str, *, leftmost: bool) -> None:
            returned.append(tag)

    channel.qos = Qos()
    _return_silent(channel, App(), heartbeats)  # type: ignore[arg-type]
    assert returned == ["ours"]
    assert set(client.scores[key]) == {"ours", "theirs", "elsewhere"}
