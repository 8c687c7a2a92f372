"""Brokers that only count: a queue that is not there is empty, and any other error is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.broker.counting import CountingAdapter, is_missing_queue


class ChannelError(Exception):
    """An error of a driver."""

    def __init__(self, reply_code: object) -> None:
        self.reply_code = reply_code


class Connection:
    """A connection whose broker has the queue `celery`, with 3 messages and 2 consumers."""

    channel_errors = (ChannelError,)

    def __init__(self, reply_code: object = 404) -> None:
        self._reply_code = reply_code
        self.open_channels = 0

    def channel(self) -> Any:
        return self

    def __enter__(self) -> Any:
        self.open_channels += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.open_channels -= 1

    def queue_declare(self, *, queue: str, passive: bool) -> Any:
        assert passive  # never makes it
        if queue != "celery":
            raise ChannelError(self._reply_code)
        return SimpleNamespace(message_count=3, consumer_count=2)


@pytest.mark.parametrize("code", [404, "404"])
def test_a_queue_that_is_not_there_has_nothing(code: object) -> None:
    """Each question has a channel of its own, which the broker closes then."""
    connection = Connection(code)
    adapter = CountingAdapter(connection)
    assert (adapter.ready_count("celery"), adapter.consumer_count("celery")) == (3, 2)
    assert (adapter.ready_count("other"), adapter.consumer_count("other")) == (0, 0)
    found = adapter.read_queues(["celery", "other"])
    assert [(each.ready, each.unclaimed, each.messages) for each in found.values()] == [
        (3, 0, None),
        (0, 0, None),
    ]
    assert connection.open_channels == 0


def test_any_other_refusal_is_an_error() -> None:
    """A user without permission does not see an empty queue."""
    with pytest.raises(ChannelError):
        CountingAdapter(Connection(403)).ready_count("other")
    assert not is_missing_queue(ChannelError(403))


def test_what_such_a_broker_does_not_tell_is_not_known() -> None:
    """Neither who listens nor what is unacknowledged."""
    adapter = CountingAdapter(Connection())
    unknown = (adapter.unacked_count(), adapter.listener_count("celery.pidbox"), adapter.server_setting("x"))
    assert unknown == (None, None, None)
    assert not adapter.publish_probe()
    assert not adapter.find_message("a", "celery").is_complete
