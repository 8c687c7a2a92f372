"""Coroutines run on one event loop while the calling thread waits."""

from __future__ import annotations

import asyncio
import gc
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


def test_an_interrupted_coroutine_ends_before_its_future(loop: EventLoopThread) -> None:
    """What it does to the end is its result."""
    started, ended = threading.Event(), []

    async def wait_forever() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(1)
        return "interrupted"

    run = loop.start(wait_forever())
    assert started.wait(60)
    assert not run.cancel()
    run.interrupt()
    assert (run.result(timeout=60), ended) == ("interrupted", [1])


def test_what_is_interrupted_before_it_begins_ends(loop: EventLoopThread) -> None:
    """With the exception that says so."""
    is_blocked = threading.Event()
    loop._loop.call_soon_threadsafe(is_blocked.wait, 60)
    run = loop.start(nothing())
    run.interrupt()
    is_blocked.set()
    assert isinstance(run.exception(timeout=60), asyncio.CancelledError)


def test_close_runs_a_last_coroutine_and_ends_the_thread() -> None:
    """Such as one that closes connections."""
    loop, ran = EventLoopThread(), []

    async def last() -> None:
        ran.append(1)

    loop.close(last())
    assert ran == [1]
    assert not loop._thread.is_alive()


def test_close_cancels_what_still_waits() -> None:
    """It closes its connections while there is an event loop, and is not collected as garbage before."""
    loop, started, closed = EventLoopThread(), threading.Event(), []

    async def wait_for_the_network() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append(1)

    loop.start(wait_for_the_network())
    assert started.wait(60)
    gc.collect()
    loop.close(nothing())
    assert closed == [1]
