"""The state of a worker process: made at its first task, after the fork, and closed when the process ends."""

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
        self._event_loop = EventLoopThread()
        self.delivery = Delivery(parts, event_loop=self._event_loop, sender=self._sender)

    def close(self) -> None:
        """Close the SMTP sessions, the event loop and the runtime."""
        self._event_loop.close(self._sender.close())
        tracing.flush()
        runtime.close()


_lock = threading.Lock()
#: By process id: a child process inherits its parent's state, but not the thread of its event loop.
_states_by_pid: dict[int, ProcessState] = {}


def current() -> ProcessState:
    """Return the state of this process, and make it at the first call.

    Raises:
        ConfigurationError: the settings, the templates or the schema of the delivery log are invalid.
        LogUnavailable: the delivery log does not answer; the next call tries again.
    """
    pid = os.getpid()
    with _lock:
        if pid not in _states_by_pid:
            _states_by_pid[pid] = ProcessState()
        return _states_by_pid[pid]


def close() -> None:
    """Close the state of this process, if there is one."""
    with _lock:
        process = _states_by_pid.pop(os.getpid(), None)
    if process is not None:
        process.close()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
