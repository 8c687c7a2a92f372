"""Restarts of parts of a worker: how many are allowed, and the end of a worker that needs more."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from celery.worker import state

from mailctl.errors import ExitCode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")

#: Restarts of one part that are allowed within a time, in seconds.
MAX_RESTARTS = 3
WINDOW_SECONDS = 600.0
#: Seconds that a worker which has given up may take to stop by itself.
_STOP_SECONDS = 30.0


class RestartLimit:
    """Counts the restarts of one part of a worker.

    Args:
        monotonic: returns the seconds of the monotonic clock.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)

    def __str__(self) -> str:
        """Return how many restarts there were recently, for a log line."""
        minutes = pluralize(int(WINDOW_SECONDS // 60), "minute")
        return f"{len(self._restarts)} of {MAX_RESTARTS} times in {minutes}"

    def take(self) -> bool:
        """Count a restart; return whether it is allowed."""
        now = self._monotonic()
        while self._restarts and now - self._restarts[0] > WINDOW_SECONDS:
            self._restarts.popleft()
        if len(self._restarts) == MAX_RESTARTS:
            return False
        self._restarts.append(now)
        return True


def describe_failure(error: BaseException) -> str:
    """Return the class of an unexpected error and where mailctl raised it; its text may quote an email."""
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(error.__traceback__)]
    ours = [f"{path.name}:{line}" for path, line in frames if "mailctl" in path.parts]
    return f"{type(error).__name__} in {ours[-1]}" if ours else type(error).__name__


def give_up(worker: Any, reason: str) -> None:
    """Stop a worker with exit code 1, by force if it does not stop by itself.

    Args:
        worker: the Celery worker.
        reason: what no restart has repaired, as a clause.
    """
    _log.critical("this worker stops with exit code %d: %s", ExitCode.FAILED, reason)
    state.should_stop = int(ExitCode.FAILED)
    timer = threading.Timer(_STOP_SECONDS, _end_by_force, [worker])
    timer.daemon = True
    timer.start()


def _end_by_force(worker: Any) -> None:
    _log.critical("this worker did not stop within %g s and is killed", _STOP_SECONDS)
    for pid in getattr(worker.pool, "info", {}).get("processes", ()):
        # The leases of what they hold run out.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(int(ExitCode.FAILED))
