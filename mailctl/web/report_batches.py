"""Records reports of requests that come together in one call, which one thread makes for all of them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

from mailctl.feedback.recording import record_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.feedback import Feedback
    from mailctl.runtime import Runtime

#: Requests in one call, at most.
_MOST = 32
#: Turns of the loop from the octets of a request to its reports.
_TURNS = 6
#: Calls at once: while one is written to disk, the others wait for their turn in the delivery log already.
_AT_ONCE = 4
#: How long the next call waits for one that takes long, as behind a lock of another transaction.
_PATIENCE_SECONDS = 0.1


class ReportBatches:
    """Records reports for the requests of an event loop: a thread for each would cost more than recording.

    A request that comes alone waits for nobody; those that come meanwhile are recorded together.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[tuple[Sequence[Feedback], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        #: Calls that nobody else keeps: the loop does not.
        self._running: set[asyncio.Task[None]] = set()

    async def record(self, reports: Sequence[Feedback]) -> None:
        """Record the reports of a request; when this returns, they are on disk.

        Raises:
            LogUnavailable: the delivery log cannot be written; nothing is recorded.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((reports, done))
        if self._task is None:
            # In a context of its own: it serves more than the request that begins it.
            self._task = asyncio.create_task(self._record_waiting(), context=contextvars.Context())
        await done

    async def _record_waiting(self) -> None:
        try:
            while self._waiting:
                await self._read_arrived()
                some, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                running = asyncio.create_task(self._record(some))
                self._running.add(running)
                running.add_done_callback(self._running.discard)
                if len(self._running) >= _AT_ONCE:
                    await asyncio.wait(
                        self._running, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
        finally:
            self._task = None

    async def _read_arrived(self) -> None:
        """Let the loop read the requests that have arrived already, and those that arrive meanwhile."""
        known = 0
        while known < len(self._waiting) < _MOST:
            known = len(self._waiting)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    async def _record(self, requests: Sequence[tuple[Sequence[Feedback], asyncio.Future[None]]]) -> None:
        calls = [reports for reports, _ in requests]
        errors: Sequence[Exception | None]
        try:
            errors = await run_in_threadpool(record_each, self._runtime, calls)
        except Exception as error:
            # No thread can be started.
            errors = [error] * len(calls)
        except BaseException:
            # The loop ends.
            for _, done in requests:
                done.cancel()
            raise
        for (_, done), failed in zip(requests, errors, strict=True):
            # It is done already if its request was cancelled.
            if not done.done():
                done.set_result(None) if failed is None else done.set_exception(failed)


class BatchesOfLoops:
    """The batches of each event loop of a process, of which a service has one.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._batches = WeakKeyDictionary[asyncio.AbstractEventLoop, ReportBatches]()

    def current(self) -> ReportBatches:
        """Return the batches of the running event loop."""
        loop = asyncio.get_running_loop()
        return self._batches.setdefault(loop, ReportBatches(self._runtime))
