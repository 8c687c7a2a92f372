"""A value that every process makes for itself: connections, threads and locks do not survive a fork."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Holds one value per process, made by the first thread that asks for it.

    A forked child makes its own value. It keeps the value of its parent without using it: collecting it as
    garbage would close connections that the parent still uses.

    Create instances at module level only, because the interpreter keeps each one for good.
    """

    def __init__(self) -> None:
        self._values: dict[int, T] = {}
        self._renew_lock()
        # Another thread of the parent may hold the lock at the moment of the fork.
        os.register_at_fork(after_in_child=self._renew_lock)

    def get(self, make: Callable[[], T], *, is_usable: Callable[[T], bool] | None = None) -> T:
        """Return the value of this process, and make it first if there is none.

        Args:
            make: returns a new value; what it raises is passed on, and the next call tries again.
            is_usable: says whether the existing value may be returned; otherwise a new one replaces it.
        """
        pid = os.getpid()
        with self._lock:
            if pid in self._values and (is_usable is None or is_usable(self._values[pid])):
                return self._values[pid]
            value = self._values[pid] = make()
            return value

    def peek(self) -> T | None:
        """Return the value of this process, or None if it has not been made."""
        return self._values.get(os.getpid())

    def pop(self) -> T | None:
        """Remove and return the value of this process; return None if it has not been made."""
        with self._lock:
            return self._values.pop(os.getpid(), None)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()
