"""Prevents forks while a thread uses the broker's client, or writes for the recorder.

redis-py locks its connection pools, and Python each module that is being imported. A pool process that is
forked while another thread holds such a lock waits for it forever, and its slot in the pool is lost.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The longest time in seconds that a fork waits.
_MAX_FORK_WAIT_SECONDS = 5.0


class _ForkGate:
    """A lock that either any number of threads or one fork can hold."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_closed = False

    def enter(self) -> None:
        """Wait until no fork is in progress, and hold the gate as a thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1

    def leave(self) -> None:
        """Release the gate as a thread."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Close the gate to threads, and wait until none holds it."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._inside, timeout=_MAX_FORK_WAIT_SECONDS)

    def open(self) -> None:
        """Open the gate to threads again."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()

    def reset(self) -> None:
        """Reset the gate in a child process, which does not have the threads of its parent."""
        self._changed = threading.Condition()
        self._inside = 0
        self._is_closed = False


_gate = _ForkGate()
os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_gate.reset)


@contextmanager
def no_fork() -> Iterator[None]:
    """Delay forks of this process during the block."""
    _gate.enter()
    try:
        yield
    finally:
        _gate.leave()
