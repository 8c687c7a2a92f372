"""Draining: stops a worker when no work is left."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: Seconds without work after which a worker counts as drained.
_QUIET_SECONDS = 0.4
#: Seconds for which the delivery log may fail before a worker without tasks gives up.
_PATIENCE_SECONDS = 30.0


class DrainWatch:
    """Watches the delivery log and the broker, and reports once that no work is left.

    Args:
        runtime: the parts of this process.
        broker: tells how many messages wait.
        queues: the queues of the worker.
        is_busy: whether the worker is executing tasks.
        on_drained: called once with the exit code: when no work has been left for a moment, or when the log
            could not be used for long.
        monotonic: returns the seconds of the monotonic clock.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        broker: BrokerInspector,
        queues: Sequence[str],
        is_busy: Callable[[], bool],
        on_drained: Callable[[ExitCode], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._broker = broker
        self._queues = queues
        self._is_busy = is_busy
        self._on_drained = on_drained
        self._monotonic = monotonic
        self._busy_at = monotonic()
        self._is_drained = False
        self._failing_since: float | None = None

    def check(self) -> None:
        """Call `on_drained` if there has been no work for a moment.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        if self._is_busy() or self._has_work():
            self._busy_at = self._monotonic()
        elif not self._is_drained and self._monotonic() - self._busy_at > _QUIET_SECONDS:
            _log.info("no work is left")
            self._end(ExitCode.DONE)

    def note_works(self) -> None:
        """Note that the delivery log was written; one on a full disk can be read."""
        self._failing_since = None

    def note_outage(self) -> None:
        """Call `on_drained` if the delivery log could not be used for long: nobody would end the worker.

        A task that waits for the log to record its outcome is not left alone.
        """
        now = self._monotonic()
        if self._failing_since is None or self._is_busy():
            self._failing_since = now
        elif not self._is_drained and now - self._failing_since > _PATIENCE_SECONDS:
            _log.error("not drained: the delivery log could not be used for %g s", _PATIENCE_SECONDS)
            self._end(ExitCode.UNAVAILABLE)

    def _end(self, code: ExitCode) -> None:
        self._is_drained = True
        self._on_drained(code)

    def _has_work(self) -> bool:
        if self._runtime.history.backlog(now=self._runtime.clock()).ready:
            return True
        return any(self._broker.depth(queue).ready for queue in self._queues)
