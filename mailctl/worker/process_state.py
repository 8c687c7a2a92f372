"""What a process of a worker sends with: made at its first task, after the fork, and closed at its end."""

from __future__ import annotations

from mailctl import runtime, tracing
from mailctl.per_process import PerProcess
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


_states = PerProcess[ProcessState]()


def current() -> ProcessState:
    """Return what this process sends with.

    Raises:
        ConfigurationError: the settings, templates or the log's schema are not usable.
        LogUnavailable: the delivery log cannot be reached; the next call tries again.
    """
    return _states.get(ProcessState)


def close() -> None:
    """Close what this process sends with, if it has sent."""
    if (state := _states.pop()) is not None:
        state.close()
