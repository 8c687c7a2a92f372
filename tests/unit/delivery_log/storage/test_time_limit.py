"""A time limit holds for what is called within it."""

from __future__ import annotations

import asyncio

from mailctl.delivery_log.storage.time_limit import remaining_seconds, time_limit


def test_a_limit_holds_within_its_block() -> None:
    """Also where it has passed."""
    assert remaining_seconds() is None
    with time_limit(60):
        assert 0 < (remaining_seconds() or 0) <= 60
        with time_limit(-1):
            assert (remaining_seconds() or 0) <= -1
    assert remaining_seconds() is None


def test_a_limit_holds_in_the_thread_that_does_the_work() -> None:
    """It counts from the call, also while the call waits for a thread."""

    async def call() -> float | None:
        with time_limit(60):
            return await asyncio.to_thread(remaining_seconds)

    assert 0 < (asyncio.run(call()) or 0) <= 60
