"""Draining: stops a worker when no work is left."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: Seconds without work after which a worker counts as drained.
_QUIET_SECONDS = 0.4


class DrainWatch:
    """Watches the delivery log and the broker, and reports once that no work is left.

    Args:
        runtime: the parts of this process.
        broker: tells how many messages wait.
        queues: the queues of the worker.
        is_busy: whether the worker is executing tasks.
        on_drained: called once when no work has been left for a moment.
        monotonic: returns the seconds of the monotonic clock.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        broker: BrokerInspector,
        queues: Sequence[str],
        is_busy: Callable[[], bool],
        on_drained: Callable[[], None],
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

    def check(self) -> None:
        """Call `on_drained` if there has been no work for a moment.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        if self._is_busy() or self._has_work():
            self._busy_at = self._monotonic()
        elif not self._is_drained and self._monotonic() - self._busy_at > _QUIET_SECONDS:
            self._is_drained = True
            _log.info("no work is left")
            self._on_drained()

    def _has_work(self) -> bool:
        if self._runtime.history.backlog(now=self._runtime.clock()).ready:
            return True
        return any(self._broker.depth(queue).ready for queue in self._queues)
