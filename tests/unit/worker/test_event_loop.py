"""Coroutines run on one event loop while the calling thread waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mailctl.worker.event_loop import EventLoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator


async def nothing() -> None:
    """Return at once."""


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    """A running loop."""
    loop = EventLoopThread()
    yield loop
    loop.close(nothing())


def test_a_result_is_returned_to_the_caller(loop: EventLoopThread) -> None:
    """It was computed in another thread."""

    async def thread_name() -> str:
        return threading.current_thread().name

    assert loop.start(thread_name()).result(timeout=60) == "mailctl-loop"


def test_an_exception_is_raised_in_the_caller(loop: EventLoopThread) -> None:
    """When the result is asked for."""

    async def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        loop.start(fail()).result(timeout=60)


def test_close_runs_a_last_coroutine_and_ends_the_thread() -> None:
    """Such as one that closes connections."""
    loop, ran = EventLoopThread(), []

    async def last() -> None:
        ran.append(1)

    loop.close(last())
    assert ran == [1]
    assert not loop._thread.is_alive()
