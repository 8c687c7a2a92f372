"""What Redis has recorded for a connection that was lost goes back, also if Redis records it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from mailctl.worker import redis_unread
from mailctl.worker.redis_unread import UnreadMessages

if TYPE_CHECKING:
    from collections.abc import Callable


class Queue:
    """Records which messages are returned, of those that Redis has recorded."""

    def __init__(self, *recorded: str, errors: dict[str, Exception] | None = None) -> None:
        self.recorded = set(recorded)
        self.asked: list[str] = []
        self._errors = errors or {}

    def put_back(self, tag: str) -> bool:
        self.asked.append(tag)
        if tag in self._errors:
            raise self._errors[tag]
        return tag in self.recorded


@pytest.fixture
def unread() -> UnreadMessages:
    """Two messages have been requested, over different connections."""
    unread = UnreadMessages()
    unread.expect("a")
    unread.expect("b")
    return unread


def test_what_may_still_be_received_is_not_returned(unread: UnreadMessages) -> None:
    """Nor what was received."""
    queue = Queue("a", "b")
    unread.settle("a")
    unread.lose("a")
    unread.put_back(queue.put_back)
    assert queue.asked == []


@pytest.mark.parametrize(
    ("lose", "returned"), [(lambda all_: all_.lose("a"), ["a"]), (UnreadMessages.lose_all, ["a", "b"])]
)
def test_what_was_lost_is_returned_once(
    unread: UnreadMessages, lose: Callable[[UnreadMessages], None], returned: list[str]
) -> None:
    """Over the next connection."""
    queue = Queue("a", "b")
    lose(unread)
    unread.put_back(queue.put_back)
    unread.put_back(queue.put_back)
    assert sorted(queue.asked) == returned


def test_redis_may_record_it_later(unread: UnreadMessages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command was on its way when the connection broke; it is waited for, but not for ever."""
    queue = Queue()
    unread.lose("a")
    for _ in range(2):
        unread.put_back(queue.put_back)
    assert (queue.asked, len(unread)) == (["a", "a"], 1)
    monkeypatch.setattr(redis_unread, "_LATE_SECONDS", -1.0)
    unread.lose("b")
    unread.put_back(queue.put_back)
    assert len(unread) == 1


@pytest.mark.parametrize(
    ("error", "count"), [(NoPermissionError("secret"), 2), (RedisConnectionError("secret"), 1)]
)
def test_an_error_of_redis_keeps_the_message(unread: UnreadMessages, error: Exception, count: int) -> None:
    """A refusal concerns one message; without a connection, none is tried."""
    queue = Queue(errors={"a": error, "b": error})
    unread.lose_all()
    unread.put_back(queue.put_back)
    assert (len(queue.asked), len(unread)) == (count, 2)
