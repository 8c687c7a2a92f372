"""Wrong keys, counted by where they come from, so that nobody can try many."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Wrong keys from one address after which it has to wait, and the seconds in which they count.
MAX_FAILURES = 10
WINDOW_SECONDS = 60.0
#: Addresses that are remembered; beyond that the one that was quiet for longest is forgotten.
MAX_ADDRESSES = 10_000


class LoginThrottle:
    """Counts failures for each address, in a window that begins with the first; used by many threads.

    Args:
        most: failures after which an address has to wait.
        clock: gives seconds.
    """

    def __init__(self, *, most: int = MAX_FAILURES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = most
        self._clock = clock
        self._lock = threading.Lock()
        #: By address: when the window began, and the failures in it.
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Return how long an address has to wait before its next try is looked at; 0 for not at all."""
        with self._lock:
            began, count = self._failures.get(address, (0.0, 0))
            left = began + WINDOW_SECONDS - self._clock()
            return int(left) + 1 if count >= self._max_failures and left > 0 else 0

    def record_failure(self, address: str) -> None:
        """Count a wrong key."""
        with self._lock:
            now = self._clock()
            began, count = self._failures.pop(address, (now, 0))
            if now - began >= WINDOW_SECONDS:
                began, count = now, 0
            self._failures[address] = (began, count + 1)
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
