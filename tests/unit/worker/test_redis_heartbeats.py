"""Heartbeats of messages on Redis tell which workers have died, by the clock of Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from mailctl.worker.redis_heartbeats import KEY_SUFFIX, SILENCE_SECONDS, MessageHeartbeats
from tests.unit.worker.redis_channels import INDEX, Channel, Redis

KEY = f"{INDEX}{KEY_SUFFIX}"


def beating(*, ahead_seconds: float = 0.0) -> tuple[Redis, Channel, MessageHeartbeats]:
    """Return heartbeats on a Redis whose clock is ahead of this host's."""
    client = Redis(time=time.time() + ahead_seconds)
    channel = Channel(client)
    return client, channel, MessageHeartbeats(channel)


def test_a_message_has_a_heartbeat_from_the_moment_it_is_taken() -> None:
    """In the transaction that records it as taken; the way to get other pipelines stays as it was."""
    client, channel, heartbeats = beating()
    append = heartbeats.begin_with(channel.qos.append)
    append(None, "t1")
    assert (set(client.scores[INDEX]), set(client.scores[KEY])) == ({"t1"}, {"t1"})
    assert not hasattr(channel.qos, "pipe_or_acquire")


def test_what_ends_a_message_ends_its_heartbeat() -> None:
    """An acknowledged message is none of a dead worker."""
    client, channel, heartbeats = beating()
    heartbeats.begin_with(channel.qos.append)(None, "t1")
    channel.qos._remove_from_indices("t1")
    assert (client.scores[INDEX], client.scores[KEY]) == ({}, {})


@pytest.mark.parametrize("ahead_seconds", [0.0, 3600.0, -3600.0])
def test_only_messages_without_a_heartbeat_are_silent(ahead_seconds: float) -> None:
    """However wrong the clock of this host is."""
    client, _, heartbeats = beating(ahead_seconds=ahead_seconds)
    now = client.time()[0]
    client.zadd(KEY, {"dead": now - SILENCE_SECONDS - 5, "alive": now - SILENCE_SECONDS - 5, "new": now})
    heartbeats.renew(["alive"])
    assert heartbeats.find_silent() == ["dead"]
    heartbeats.forget("dead")
    assert heartbeats.find_silent() == []


def test_a_longer_interval_gives_workers_more_time() -> None:
    """A worker counts as dead after three heartbeats that did not come."""
    client, channel, heartbeats = beating()
    client.zadd(KEY, {"slow": client.time()[0] - SILENCE_SECONDS - 5})
    channel.unacked_restore_interval = 60.0  # type: ignore[attr-defined]
    assert heartbeats.find_silent() == []


def test_a_message_that_has_ended_gets_no_heartbeat_again() -> None:
    """It would count as silent later, although nobody has it."""
    client, _, heartbeats = beating()
    heartbeats.renew(["ended"])
    assert client.scores.get(KEY, {}) == {}


@pytest.mark.parametrize("error", [ResponseError("NOPERM"), RedisConnectionError("away")])
@pytest.mark.parametrize("command", ["time", "zrem"])
def test_without_the_rights_nothing_changes(command: str, error: Exception) -> None:
    """Messages of killed workers then return after the visibility timeout."""
    channel = Channel(Redis(refuses={command: error}))
    heartbeats = MessageHeartbeats(channel)
    append: Any = channel.qos.append
    assert not heartbeats.is_enabled
    assert heartbeats.begin_with(append) is append
