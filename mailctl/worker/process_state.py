"""What a process of a worker sends with: made at its first task, after the fork, and closed at its end."""

from __future__ import annotations

import os
import threading

from mailctl import runtime, tracing
from mailctl.worker.delivery import Delivery
from mailctl.worker.event_loop import EventLoopThread


class ProcessState:
    """The delivery of one process, with its event loop and its sender."""

    def __init__(self) -> None:
        self.runtime = parts = runtime.current()
        self._sender = parts.make_sender()
        self._bridge = EventLoopThread()
        self.delivery = Delivery(parts, bridge=self._bridge, sender=self._sender)

    def close(self) -> None:
        """Say goodbye to the mail server and end the loop."""
        self._bridge.close(self._sender.close())
        tracing.flush()
        runtime.close()


_lock = threading.Lock()
#: By process: a child must not use its parent's loop, whose thread does not exist there.
_states_by_pid: dict[int, ProcessState] = {}


def current() -> ProcessState:
    """Return what this process sends with.

    Raises:
        ConfigurationError: the settings, templates or the log's schema are not usable.
        LogUnavailable: the delivery log cannot be reached; the next call tries again.
    """
    pid = os.getpid()
    with _lock:
        if pid not in _states_by_pid:
            _states_by_pid[pid] = ProcessState()
        return _states_by_pid[pid]


def close() -> None:
    """Close what this process sends with, if it has sent."""
    with _lock:
        process = _states_by_pid.pop(os.getpid(), None)
    if process is not None:
        process.close()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
