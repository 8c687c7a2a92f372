"""Counts what is refused, and says so in the program's log: at most once a second, whatever comes."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from mailctl.errors import MailctlError
from mailctl.feedback.recording import count_rejected
from mailctl.process.per_process import PerProcess

if TYPE_CHECKING:
    from mailctl.delivery_log.reports import FeedbackResult
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.feedback")
_SECONDS_BETWEEN_WRITES = 1.0


class RejectionCounter:
    """Adds up what is refused, so that a flood of forged requests costs no transaction each.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
        interval: seconds between two writes; the first refusal after a pause is written at once.
    """

    def __init__(self, runtime: Runtime, *, interval: float = _SECONDS_BETWEEN_WRITES) -> None:
        self.runtime = runtime
        self._interval = interval
        self._counts: Counter[tuple[str, FeedbackResult]] = Counter()
        self._next_at = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        #: Held by the only thread that waits for the delivery log.
        self._writing = threading.Lock()

    def add(self, source: str, result: FeedbackResult, amount: int = 1) -> None:
        """Count something that is no report; it raises nothing."""
        with self._lock:
            self._counts[source, result] += amount
            is_due = time.monotonic() >= self._next_at
        if is_due:
            self.flush()
        else:
            self._flush_later()

    def flush(self) -> None:
        """Write what was counted; while the delivery log cannot be written, it is kept for the next time.

        If another thread is writing, this is postponed: a flood of requests must not occupy all threads.
        """
        if not self._writing.acquire(blocking=False):
            self._flush_later()
            return
        try:
            self._write()
        finally:
            self._writing.release()

    def _write(self) -> None:
        with self._lock:
            self._next_at = time.monotonic() + self._interval
            taken, self._counts = self._counts, Counter()
        while taken:
            (source, result), amount = taken.popitem()
            try:
                count_rejected(self.runtime, source, result, amount)
            except MailctlError:
                with self._lock:
                    self._counts.update(taken)
                    self._counts[source, result] += amount
                self._flush_later()
                return
            _log.warning("feedback from %s: %d refused: %s", source, amount, result)

    def close(self) -> None:
        """Write what was counted, for the last time."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        with self._writing:
            self._write()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _flush_now(self) -> None:
        with self._lock:
            self._timer = None
        self.flush()

    def _flush_later(self) -> None:
        """Write when the interval has passed, although nothing more may come."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._interval, self._flush_now)
                self._timer.daemon = True
                self._timer.start()


_counters = PerProcess[RejectionCounter]()


def rejections_of(runtime: Runtime) -> RejectionCounter:
    """Return the counter of this process, which is closed with the parts of the process."""
    return _counters.get(partial(_make, runtime), is_usable=lambda each: each.runtime is runtime)


def _make(runtime: Runtime) -> RejectionCounter:
    counter = RejectionCounter(runtime)
    runtime.on_close(counter.close)
    return counter
