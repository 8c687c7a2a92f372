"""Bytes that a channel popped and cannot decode move to the list for unclaimed messages."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import OutOfMemoryError

from mailctl.worker.foreign_messages.unreadable_bytes import preserve_unreadable_bytes
from mailctl.worker.redis_unacked import POPPED_HANDLER_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

SEPARATOR = "\x06\x16"


class Channel:
    """A channel to Redis whose next reply a test chooses."""

    sep = SEPARATOR

    def __init__(self, reply: Any, *, error: Exception | None = None) -> None:
        pipe = SimpleNamespace(lpush=self._push)
        self.client = SimpleNamespace(
            parse_response=lambda _connection, _command: reply, pipeline=lambda: pipe
        )
        self.pushed: list[tuple[str, bytes]] = []
        self._error = error

    def _push(self, key: str, raw: bytes) -> SimpleNamespace:
        self.pushed.append((key, raw))
        return SimpleNamespace(execute=self._execute)

    def _execute(self) -> None:
        if self._error:
            raise self._error

    @contextmanager
    def conn_or_acquire(self) -> Iterator[Any]:
        yield self.client

    def pop(self, command: str = "BRPOP") -> Any:
        """Read the reply, and return the handler."""
        preserve_unreadable_bytes(self)
        self.client.parse_response(None, command)
        return getattr(self, POPPED_HANDLER_ATTRIBUTE)


@pytest.mark.parametrize(
    ("key", "target"),
    [
        (b"celery", "celery.unclaimed"),
        ("celery", "celery.unclaimed"),
        (f"celery{SEPARATOR}3".encode(), f"celery.unclaimed{SEPARATOR}3"),
    ],
)
def test_they_move_to_the_list_of_the_same_priority(key: bytes | str, target: str) -> None:
    """Unchanged."""
    channel = Channel([key, b"\xff"])
    assert channel.pop().move_aside(ValueError())
    assert channel.pushed == [(target, b"\xff")]


def test_what_was_decoded_is_not_moved() -> None:
    """Nor are the replies to other commands."""
    decoded = Channel([b"celery", b"{}"])
    handler = decoded.pop()
    handler.forget()
    assert not handler.move_aside(ValueError())
    assert not Channel([b"celery", b"{}"]).pop("SUBSCRIBE").move_aside(ValueError())
    assert not Channel(None).pop().move_aside(ValueError())


def test_a_redis_server_that_is_out_of_memory_takes_nothing() -> None:
    """The guard then drops the bytes, with a line in the log."""
    channel = Channel([b"celery", b"\xff"], error=OutOfMemoryError())
    assert not channel.pop().move_aside(ValueError())
