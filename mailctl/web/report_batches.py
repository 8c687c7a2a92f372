"""Records reports of requests that come together in one call, which one thread makes for all of them."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool

from mailctl.errors import LogUnavailable, ServiceUnavailable
from mailctl.feedback.recording import record_each, should_wait_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.feedback import Feedback
    from mailctl.runtime import Runtime

    _Waiting = tuple[Sequence[Feedback], asyncio.Future[None]]

#: Requests in one call, and reports, at most, unless a single request has more: while they are written, the
#: workers wait for the log.
_MOST, _MOST_REPORTS = 32, 500
#: Turns of the loop from the octets of a request to its reports.
_TURNS = 6
#: Calls at once: while one is written to disk, the others wait for their turn in the delivery log already.
_AT_ONCE = 4
#: How long the next call waits for one that takes long, as behind a lock of another transaction; and how many
#: may do so: the threads of the process serve others, too.
_PATIENCE_SECONDS, _MOST_CALLS = 0.1, 8
#: Seconds until a request is answered whatever the log does: after its own limit, before providers give up.
_SECONDS = 14.0


class ReportBatches:
    """Records reports for the requests of an event loop: a thread for each would cost more than recording.

    A request that comes alone waits for nobody; those that come meanwhile are recorded together.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        #: Calls that nobody else keeps: the loop does not.
        self._running: set[asyncio.Task[None]] = set()
        self._threads = CapacityLimiter(_MOST_CALLS)

    async def record(self, reports: Sequence[Feedback]) -> None:
        """Record the reports of a request; when this returns, they are on disk.

        Raises:
            LogUnavailable: the delivery log cannot be written in time.
            ServiceUnavailable: this process cannot record anything.
        """
        done = asyncio.get_running_loop().create_future()
        request = reports, done
        self._waiting.append(request)
        if self._task is None:
            # In a context of its own: it serves more than the request that begins it.
            self._task = asyncio.create_task(self._record_waiting(), context=contextvars.Context())
        try:
            async with asyncio.timeout(_SECONDS):
                await done
        except TimeoutError:
            with suppress(ValueError):
                self._waiting.remove(request)
            raise LogUnavailable(
                "the delivery log does not answer in time.", fix="See `mailctl check-config`."
            ) from None

    async def _record_waiting(self) -> None:
        try:
            while self._waiting:
                await self._read_arrived()
                self._begin(self._take())
                if len(self._running) >= _AT_ONCE:
                    await asyncio.wait(
                        self._running, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                while len(self._running) >= _MOST_CALLS:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._task = None

    async def _read_arrived(self) -> None:
        """Let the loop read the requests that have arrived already, and those that arrive meanwhile."""
        known = 0
        while known < len(self._waiting) < _MOST:
            known = len(self._waiting)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _take(self) -> Sequence[_Waiting]:
        """Return the requests of the next call, which wait no longer."""
        sizes = accumulate(len(reports) for reports, _ in self._waiting[:_MOST])
        number = max(1, sum(size <= _MOST_REPORTS for size in sizes))
        taken, self._waiting = self._waiting[:number], self._waiting[number:]
        return taken

    def _begin(self, requests: Sequence[_Waiting]) -> None:
        running = asyncio.create_task(self._record(requests))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _record(self, requests: Sequence[_Waiting]) -> None:
        calls = [reports for reports, _ in requests]
        errors: Sequence[Exception | None]
        try:
            errors = await to_thread.run_sync(record_each, self._runtime, calls, limiter=self._threads)
        except Exception as error:
            errors = [_no_thread(error)] * len(calls)
        except BaseException:
            # The loop ends.
            for _, done in requests:
                done.cancel()
            raise
        for request, failed in zip(requests, errors, strict=True):
            if failed is not None and len(requests) > 1 and should_wait_alone(failed):
                self._begin([request])
            else:
                _answer(request, failed)


def _no_thread(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"This process cannot start a thread ({type(error).__name__}).", fix="Allow it more of them."
    )


def _answer(request: _Waiting, failed: Exception | None) -> None:
    _, done = request
    # It is done already if its request was cancelled, or has waited for too long.
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

    async def record(self, reports: Sequence[Feedback]) -> None:
        """Record the reports of a request, as `ReportBatches.record` does."""
        try:
            batches = self.current()
        except RuntimeError:
            # A service may run on Trio, which has no such loop.
            [failed] = await run_in_threadpool(record_each, self._runtime, [reports])
            if failed is not None:
                raise failed from None
        else:
            await batches.record(reports)

    def current(self) -> ReportBatches:
        """Return the batches of the running event loop.

        Raises:
            RuntimeError: there is none.
        """
        loop = asyncio.get_running_loop()
        return self._batches.setdefault(loop, ReportBatches(self._runtime))
