"""Records the reports of concurrent requests in batches: one call in one thread for each batch."""

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

#: The maximum number of requests, and of reports, in a batch, unless a single request has more reports:
#: workers wait for the log while a batch is written.
_MAX_REQUESTS, _MAX_REPORTS = 32, 500
#: Iterations of the event loop from the arrival of a request to its parsed reports.
_ITERATIONS = 6
#: Batches that are written at a time: while one goes to disk, the others already wait for the delivery log.
_CONCURRENT_BATCHES = 4
#: If these take long, such as behind a lock of another transaction, another batch begins after this time; and
#: the maximum number of batches at a time: the threads of the process serve other requests, too.
_WAIT_SECONDS, _MAX_BATCHES = 0.1, 8
#: Seconds after which a request is answered in any case: longer than the time limit of the delivery log,
#: shorter than the timeouts of providers.
_SECONDS = 14.0


class ReportBatches:
    """Records the reports of the requests of one event loop: a thread per request would cost too much.

    A single request is recorded at once. Requests that arrive in the meantime form the next batch.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        #: References to the running tasks: the event loop keeps only weak ones.
        self._running: set[asyncio.Task[None]] = set()
        self._threads = CapacityLimiter(_MAX_BATCHES)

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
            # In an empty context: the task also serves other requests than the one that starts it.
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
                self._start_batch(self._take())
                if len(self._running) >= _CONCURRENT_BATCHES:
                    await asyncio.wait(
                        self._running, timeout=_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                while len(self._running) >= _MAX_BATCHES:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._task = None

    async def _read_arrived(self) -> None:
        """Let the event loop read the requests that have arrived, and those that arrive in the meantime."""
        known = 0
        while known < len(self._waiting) < _MAX_REQUESTS:
            known = len(self._waiting)
            for _ in range(_ITERATIONS):
                await asyncio.sleep(0)

    def _take(self) -> Sequence[_Waiting]:
        """Remove the requests of the next batch from the waiting ones, and return them."""
        sizes = accumulate(len(reports) for reports, _ in self._waiting[:_MAX_REQUESTS])
        number = max(1, sum(size <= _MAX_REPORTS for size in sizes))
        taken, self._waiting = self._waiting[:number], self._waiting[number:]
        return taken

    def _start_batch(self, requests: Sequence[_Waiting]) -> None:
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
            # The event loop is shutting down.
            for _, done in requests:
                done.cancel()
            raise
        for request, failed in zip(requests, errors, strict=True):
            if failed is not None and len(requests) > 1 and should_wait_alone(failed):
                self._start_batch([request])
            else:
                _answer(request, failed)


def _no_thread(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"This process cannot start a thread ({type(error).__name__}).",
        fix="Raise the limit of threads for it.",
    )


def _answer(request: _Waiting, failed: Exception | None) -> None:
    _, done = request
    # It is done already if its request was cancelled, or has waited for too long.
    if not done.done():
        done.set_result(None) if failed is None else done.set_exception(failed)


class PerLoopBatches:
    """The `ReportBatches` of each event loop of a process; most services have one event loop.

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
