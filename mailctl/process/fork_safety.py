"""Prevents forks while a thread holds what a forked process cannot use: locks, and open databases in SQLite.

redis-py locks its connection pools, and Python each module that is being imported. A pool process that is
forked while another thread holds such a lock waits for it forever, and its slot in the pool is lost. SQLite
keeps in memory which locks a process has on a file: forked during a transaction, a process believes for good
that another of its connections holds the lock (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The longest time in seconds that a fork waits; a thread may wait ten for the lock of a database in SQLite.
_MAX_FORK_WAIT_SECONDS = 15.0


class _ForkGate:
    """A lock that either any number of threads or one fork can hold; a thread can hold it several times."""

    def __init__(self) -> None:
        self._closing: list[WeakMethod[Callable[[], None]]] = []
        self.reset()

    def enter(self) -> int:
        """Wait until no fork is in progress, hold the gate, and return the thread, for `leave`."""
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed or self._inside[thread])
            self._inside[thread] += 1
        return thread

    def leave(self, thread: int) -> None:
        """Release the gate for a thread."""
        with self._changed:
            self._inside[thread] -= 1
            if self._inside[thread] <= 0:
                del self._inside[thread]
            self._changed.notify_all()

    def add_closing(self, close: Callable[[], None]) -> None:
        """Call a method before each fork, as long as its object exists."""
        with self._changed:
            alive = [each for each in self._closing if each() is not None]
            self._closing = [*alive, WeakMethod(close)]

    def close(self) -> None:
        """Close the gate to threads, wait until no other one holds it, and close what may not be open."""
        forking = threading.get_ident()
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(
                lambda: self._inside.keys() <= {forking},
                timeout=_MAX_FORK_WAIT_SECONDS,
            )
            # A thread that continues nevertheless, or the forking one, may be using what would be closed.
            is_unused = not self._inside
        for close in self._closing if is_unused else ():
            if (method := close()) is not None:
                method()

    def open(self) -> None:
        """Open the gate to threads again."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()

    def reset(self) -> None:
        """Reset the gate in a child process, which does not have the threads of its parent."""
        self._changed = threading.Condition()
        self._inside: Counter[int] = Counter()
        self._is_closed = False


_gate = _ForkGate()
os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_gate.reset)
#: Delay forks of this process from one call to the other, which takes what the first has returned.
hold_forks = _gate.enter
release_forks = _gate.leave


@contextmanager
def no_fork() -> Iterator[None]:
    """Delay forks of this process during the block."""
    thread = hold_forks()
    try:
        yield
    finally:
        release_forks(thread)


def close_before_forks(close: Callable[[], None]) -> None:
    """Call a method before each fork of this process, while no thread is in a block of `no_fork`.

    Args:
        close: a bound method, called as long as its object exists. What it closes is opened again when it is
            needed.
    """
    _gate.add_closing(close)
