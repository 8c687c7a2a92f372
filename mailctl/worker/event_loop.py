"""One event loop per process, in a thread of its own: SMTP sessions live on it from task to task."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

_T = TypeVar("_T")
#: Seconds that closing waits for what is still running on the loop.
_CLOSE_SECONDS = 5.0


class EventLoopThread:
    """Runs coroutines for threads that have no loop; starts its own at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailctl-loop", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Let `work` begin; `wait` returns what becomes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(self, begun: Future[_T], *, every_seconds: float, meanwhile: Callable[[], object]) -> _T:
        """Wait for what was started, and return what it returns or raises.

        Args:
            every_seconds: how often to call `meanwhile`.
            meanwhile: called in the thread of the caller while it waits.
        """
        while True:
            try:
                return begun.result(timeout=every_seconds)
            except TimeoutError:
                if begun.done():
                    raise
            meanwhile()

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run `last`, then end the loop and its thread."""
        with suppress(TimeoutError):  # whatever still waits for the network is cut off with the loop
            asyncio.run_coroutine_threadsafe(last, self._loop).result(timeout=_CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
