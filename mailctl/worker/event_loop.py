"""The event loop of a worker process: in its own thread, it keeps SMTP sessions open between tasks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")
#: Seconds that `close` waits for the last coroutine, and for the thread.
_CLOSE_SECONDS = 5.0


class CoroutineRun(Future[_T]):
    """The future of a coroutine on an event loop of another thread.

    It ends when the coroutine has ended, also if that was interrupted: until then the coroutine may still do
    something, such as note how far it has come. If the coroutine does not return, its exception is the
    future's, `asyncio.CancelledError` among them.

    Args:
        loop: the event loop.
        coroutine: the coroutine, which starts soon.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[_T] | None = None
        self.set_running_or_notify_cancel()  # `cancel` would end the future before the coroutine
        loop.call_soon_threadsafe(self._begin, coroutine)

    def interrupt(self) -> None:
        """Cancel the coroutine, without waiting for its end."""
        self._loop.call_soon_threadsafe(self._cancel_task)

    def _begin(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._end)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


class CoroutineRunner(Protocol):
    """Runs coroutines on the event loop of the process."""

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> CoroutineRun[_T]:
        """Start a coroutine, and return the future of its result."""
        ...


class EventLoopThread:
    """Runs coroutines for threads that have no event loop; its thread starts at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        #: The coroutines that have not ended: an event loop refers to its tasks only weakly.
        self._runs: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailctl-loop", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> CoroutineRun[_T]:
        """Start a coroutine, and return the future of its result."""
        run = CoroutineRun(self._loop, coroutine)
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return run

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run a last coroutine, cancel what still waits for the network, and end the loop and its thread."""
        for work in (last, _cancel_others()):
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=_CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    """Cancel all tasks of the event loop but this one, and wait until they have closed their connections."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # a transport closes its socket in the next turn of the loop
