"""Keeps a process from forking while one of its threads uses the client of the broker.

redis-py locks its pools of connections. A pool process that is forked while another thread holds such a lock
waits for it for ever, and takes its slot of the worker with it.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that a fork waits at most.
_MAX_FORK_WAIT_SECONDS = 5.0


class _ForkGate:
    """Lets any number of threads in, or a fork through."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_closed = False

    def enter(self) -> None:
        """Wait until no fork is under way, and go in."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1

    def leave(self) -> None:
        """Go out."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more, and wait until nobody is inside."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._inside, timeout=_MAX_FORK_WAIT_SECONDS)

    def open(self) -> None:
        """Let threads in again."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget the threads of the parent: a child has none of them."""
        self._changed = threading.Condition()
        self._inside = 0
        self._is_closed = False


_gate = _ForkGate()
os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_gate.reset)


@contextmanager
def no_fork() -> Iterator[None]:
    """Hold back forks of this process for as long as the block takes."""
    _gate.enter()
    try:
        yield
    finally:
        _gate.leave()
