"""Limits how many invalid keys a client can try; valid ones are accepted all the same."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Failures of one address within the window after which it has to wait.
MAX_FAILURES = 10
#: The length of the window, which begins with the first failure.
WINDOW_SECONDS = 60.0
#: Addresses that are remembered; the one whose last failure is the oldest is dropped first.
MAX_ADDRESSES = 10_000


class LoginThrottle:
    """Counts failed attempts by client address; thread-safe.

    Args:
        most: how many failures an address may have in a window.
        clock: returns monotonic seconds.
    """

    def __init__(self, *, most: int = MAX_FAILURES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = most
        self._clock = clock
        self._lock = threading.Lock()
        #: The start of the window and the number of failures in it, by address.
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Return how many seconds an address has to wait before its next attempt; 0 if it need not wait."""
        with self._lock:
            start, count = self._failures.get(address, (0.0, 0))
            remaining = start + WINDOW_SECONDS - self._clock()
            return int(remaining) + 1 if count >= self._max_failures and remaining > 0 else 0

    def record_failure(self, address: str) -> None:
        """Count a failed attempt of an address."""
        with self._lock:
            now = self._clock()
            start, count = self._failures.pop(address, (now, 0))
            if now - start >= WINDOW_SECONDS:
                start, count = now, 0
            self._failures[address] = (start, count + 1)
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
