"""Work that nobody waits for is kept, and ended."""

from __future__ import annotations

import asyncio

from mailctl.smtp.background_work import BackgroundWork


def test_work_is_kept_until_it_is_done() -> None:
    """The event loop itself would forget it."""

    async def scenario() -> tuple[int, bool, int]:
        work, done = BackgroundWork(), asyncio.Event()

        async def finish() -> None:
            done.set()

        work.start(finish())
        kept = len(work)
        await work.wait(seconds=60)
        return kept, done.is_set(), len(work)

    assert asyncio.run(scenario()) == (1, True, 0)


def test_work_that_takes_too_long_is_cancelled() -> None:
    """A mail server may not answer QUIT."""

    async def scenario() -> bool:
        work, was_cancelled = BackgroundWork(), asyncio.Event()

        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                was_cancelled.set()

        work.start(hang())
        await work.wait(seconds=0)
        return was_cancelled.is_set()

    assert asyncio.run(scenario())
