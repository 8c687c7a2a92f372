"""Work that nobody waits for, such as QUIT: kept until it is done, and ended when its pool is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class BackgroundWork(set["asyncio.Task[None]"]):
    """Tasks of one event loop that have not ended."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start some work; the event loop itself would not keep it."""
        task = asyncio.get_running_loop().create_task(work)
        self.add(task)
        task.add_done_callback(self.discard)

    async def wait(self, *, seconds: float) -> None:
        """Wait until all is done, for some seconds at most; the rest is cancelled."""
        if self:
            _, late = await asyncio.wait(set(self), timeout=seconds)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)  # lets the loop close the transports that were aborted
