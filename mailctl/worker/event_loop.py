"""The event loop of a worker process: in its own thread, it keeps SMTP sessions open between tasks."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

_T = TypeVar("_T")
#: Seconds that `close` waits for the last coroutine, and for the thread.
_CLOSE_SECONDS = 5.0


class CoroutineRunner(Protocol):
    """Runs coroutines on the event loop of the process."""

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start a coroutine, and return the future of its result."""
        ...


class EventLoopThread:
    """Runs coroutines for threads that have no event loop; its thread starts at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailctl-loop", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start a coroutine, and return the future of its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run a last coroutine, then stop the loop and its thread."""
        with suppress(TimeoutError):  # what still waits for the network ends with the loop
            asyncio.run_coroutine_threadsafe(last, self._loop).result(timeout=_CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
