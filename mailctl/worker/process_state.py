"""The state of a worker process: made at its first task, after the fork, and closed when the process ends."""

from __future__ import annotations

from mailctl import runtime, tracing
from mailctl.process.per_process import PerProcess
from mailctl.worker.delivery import Delivery
from mailctl.worker.event_loop import EventLoopThread


class ProcessState:
    """The delivery of one process, with its event loop and its sender."""

    def __init__(self) -> None:
        self.runtime = parts = runtime.current()
        parts.limit_transactions()
        self._sender = parts.make_sender()
        self._event_loop = EventLoopThread()
        self.delivery = Delivery(parts, event_loop=self._event_loop, sender=self._sender)

    def close(self) -> None:
        """Finish what is being sent, and close the SMTP sessions, the event loop and the runtime."""
        self.delivery.close()
        self._event_loop.close(self._sender.close())
        tracing.flush()
        runtime.close()


_states = PerProcess[ProcessState]()


def current() -> ProcessState:
    """Return the state of this process, and make it at the first call.

    Raises:
        ConfigurationError: the settings, the templates or the schema of the delivery log are invalid.
        LogUnavailable: the delivery log does not answer; the next call tries again.
    """
    return _states.get(ProcessState)


def close() -> None:
    """Close the state of this process, if there is one."""
    if (state := _states.pop()) is not None:
        state.close()
