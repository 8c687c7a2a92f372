"""Coroutines run on one event loop while the calling thread waits."""

from __future__ import annotations

import asyncio
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

    assert loop.wait(loop.start(thread_name()), every_seconds=60, meanwhile=nothing) == "mailctl-loop"


def test_an_exception_is_raised_in_the_caller(loop: EventLoopThread) -> None:
    """A TimeoutError of the coroutine is not mistaken for the end of an interval."""

    async def fail(error: Exception) -> None:
        raise error

    for error in (ValueError(), TimeoutError()):
        with pytest.raises(type(error)):
            loop.wait(loop.start(fail(error)), every_seconds=60, meanwhile=nothing)


def test_a_function_is_called_during_the_wait(loop: EventLoopThread) -> None:
    """As often as the interval says, until the coroutine ends."""
    calls = []
    event = asyncio.Event()

    async def wait_for_event() -> str:
        await event.wait()
        return "done"

    async def set_event() -> None:
        event.set()

    def meanwhile() -> None:
        calls.append(1)
        if len(calls) == 3:
            loop.start(set_event())

    assert loop.wait(loop.start(wait_for_event()), every_seconds=0.001, meanwhile=meanwhile) == "done"
    assert len(calls) >= 3


def test_close_runs_a_last_coroutine_and_ends_the_thread() -> None:
    """Such as one that closes connections."""
    loop, ran = EventLoopThread(), []

    async def last() -> None:
        ran.append(1)

    loop.close(last())
    assert ran == [1]
    assert not loop._thread.is_alive()
