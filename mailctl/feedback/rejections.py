"""Counts what is refused, and says so in the program's log: at most once a second, whatever comes."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from mailctl.errors import MailctlError
from mailctl.feedback.recording import count_rejected

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
        self._runtime = runtime
        self._interval = interval
        self._counts: Counter[tuple[str, FeedbackResult]] = Counter()
        self._next_at = 0.0
        self._lock = threading.Lock()

    def add(self, source: str, result: FeedbackResult, amount: int = 1) -> None:
        """Count something that is no report; it raises nothing."""
        with self._lock:
            self._counts[source, result] += amount
            is_due = time.monotonic() >= self._next_at
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write what was counted; while the delivery log cannot be written, it is kept for the next time."""
        with self._lock:
            self._next_at = time.monotonic() + self._interval
            taken, self._counts = self._counts, Counter()
        while taken:
            (source, result), amount = taken.popitem()
            _log.warning("feedback from %s: %d refused: %s", source, amount, result)
            try:
                count_rejected(self._runtime, source, result, amount)
            except MailctlError:
                with self._lock:
                    self._counts.update(taken)
                    self._counts[source, result] += amount
                return
