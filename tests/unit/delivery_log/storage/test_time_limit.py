"""A time limit holds for what is called within it."""

from __future__ import annotations

import asyncio

from mailctl.delivery_log.storage.time_limit import (
    is_server_limited,
    remaining_lock_seconds,
    remaining_seconds,
    time_limit,
)


def test_a_limit_holds_within_its_block() -> None:
    """Also where it has passed."""
    assert remaining_seconds() is None
    with time_limit(60):
        assert 0 < (remaining_seconds() or 0) <= 60
        with time_limit(-1):
            assert (remaining_seconds() or 0) <= -1
    assert remaining_seconds() is None


def test_a_limit_within_another_one_never_extends_it() -> None:
    """Whoever waits for the whole has to have an answer in time; the server is told of the outer limit."""
    with time_limit(1), time_limit(60, is_for_server=False):
        assert (remaining_seconds() or 0) <= 1
        assert is_server_limited()


def test_a_limit_of_this_process_alone_is_not_told_to_the_server() -> None:
    """Nor is none."""
    assert not is_server_limited()
    with time_limit(1, is_for_server=False):
        assert not is_server_limited()


def test_a_limit_holds_in_the_thread_that_does_the_work() -> None:
    """It counts from the call, also while the call waits for a thread."""

    async def call() -> float | None:
        with time_limit(60):
            return await asyncio.to_thread(remaining_seconds)

    assert 0 < (asyncio.run(call()) or 0) <= 60


def test_a_lock_is_waited_for_as_long_as_the_caller_says() -> None:
    """Also within a further limit; without such a time, as long as everything may take."""
    assert remaining_lock_seconds() is None
    with time_limit(60, lock_seconds=1), time_limit(30):
        assert remaining_lock_seconds() == 1
    with time_limit(60):
        assert 1 < (remaining_lock_seconds() or 0) <= 60
