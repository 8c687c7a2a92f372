"""The soft time limit of a task, which takes effect where nothing is lost by it.

Celery raises an exception in the main thread of a pool process, wherever that is: between the claim of an
email and its attempt, or while its outcome is being written. Nobody else would have the email until its lease
runs out.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SoftTimeLimit:
    """Whether the soft time limit of a task was reached, and what is done then.

    Args:
        exists: whether it can be reached.
    """

    def __init__(self, *, exists: bool = True) -> None:
        self.is_reached = False
        self._exists = exists
        self._calls: list[Callable[[], object]] = []

    def on_reached(self, call: Callable[[], object]) -> None:
        """Call a function when the limit is reached; at once if it is reached already.

        Args:
            call: is called once, in the middle of whatever the main thread does; it takes no lock.
        """
        if self._exists:
            self._calls.append(call)
        if self.is_reached:
            self._call_all()

    def note(self, *_: Any) -> None:
        """Handle the signal: what is running continues, and the registered callbacks are called."""
        self.is_reached = True
        self._call_all()

    def _call_all(self) -> None:
        while self._calls:
            self._calls.pop()()


#: That of what is done outside such a block, or where there are no time limits.
NO_LIMIT = SoftTimeLimit(exists=False)
#: That of the block that the main thread is in.
_current: SoftTimeLimit | None = None


def current_limit() -> SoftTimeLimit:
    """Return the limit of the task that is executed in this thread."""
    return _current if _current is not None and _is_main_thread() else NO_LIMIT


@contextmanager
def soft_time_limit_deferred() -> Iterator[SoftTimeLimit]:
    """Let the soft time limit of Celery end the task at the end of a block, unless the block raises itself.

    A block within a block is part of it. Outside the processes of a pool there is no such limit.

    Yields:
        The limit, which the block asks whether it was reached.

    Raises:
        SoftTimeLimitExceeded: the limit was reached during the block, and the block is done.
    """
    global _current
    if _current is not None or not _has_limit():
        yield current_limit()
        return
    limit = _current = SoftTimeLimit()
    signal.signal(SIG_SOFT_TIMEOUT, limit.note)
    try:
        yield limit
    finally:
        _current = None
        signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    if limit.is_reached:
        raise SoftTimeLimitExceeded


def _has_limit() -> bool:
    """Whether this is the main thread of a process of a pool, which Celery interrupts."""
    return (
        SIG_SOFT_TIMEOUT is not None
        and _is_main_thread()
        and signal.getsignal(SIG_SOFT_TIMEOUT) is soft_timeout_sighandler
    )


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
