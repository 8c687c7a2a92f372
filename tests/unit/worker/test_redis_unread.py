"""What Redis has recorded for a connection that was lost goes back, also if Redis records it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from mailctl.worker import redis_unread
from mailctl.worker.redis_unread import UnreadMessages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Queue:
    """Notes for which tags messages are returned, of those that Redis has recorded."""

    def __init__(self, *recorded: str, error: Exception | None = None) -> None:
        self.recorded = set(recorded)
        self.asked: list[str] = []
        self._error = error

    def put_back(self, tags: Sequence[str]) -> set[str]:
        self.asked += sorted(tags)
        if self._error:
            raise self._error
        return self.recorded & set(tags)


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
    unread.mark_lost("a")
    unread.put_back(queue.put_back)
    assert queue.asked == []


@pytest.mark.parametrize(
    ("lose", "returned"),
    [(lambda all_: all_.mark_lost("a"), ["a"]), (UnreadMessages.mark_all_lost, ["a", "b"])],
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
    unread.mark_lost("a")
    for _ in range(2):
        unread.put_back(queue.put_back)
    assert (queue.asked, len(unread)) == (["a", "a"], 1)
    monkeypatch.setattr(redis_unread, "_LATE_SECONDS", -1.0)
    unread.mark_lost("b")
    unread.put_back(queue.put_back)
    assert len(unread) == 1


def test_what_was_looked_for_is_not_due_before_the_next_connection_is_lost(unread: UnreadMessages) -> None:
    """One look for each connection is enough."""
    unread.mark_all_lost()
    assert unread.is_due
    unread.put_back(Queue("a").put_back)
    assert (unread.is_due, len(unread)) == (False, 1)


def test_an_error_of_redis_keeps_all(unread: UnreadMessages) -> None:
    """They are looked for over the next connection."""
    unread.mark_all_lost()
    unread.put_back(Queue("a", "b", error=RedisConnectionError("secret")).put_back)
    assert (unread.is_due, len(unread)) == (True, 2)
