"""Keeps the partitions of the delivery log up: those of the next days are created before they are needed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.errors import LogUnavailable
from mailctl.worker.relay_clocks import IntervalTimer

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: Seconds between two looks, the first of which is at once.
_SECONDS = 600.0


class PartitionWatch:
    """Creates missing partitions of a log that has partitions; any number of workers may do so.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timer = IntervalTimer(_SECONDS)
        self._has_failed = False

    def check(self) -> None:
        """Create the partitions that are missing; an error is logged once, and holds nothing up."""
        if not self._timer.restart_if_due():
            return
        try:
            create_missing(self._runtime.engine, now=self._runtime.clock())
            self._has_failed = False
        except LogUnavailable as error:
            # Without a partition of their own, emails are recorded nevertheless.
            if not self._has_failed:
                _log.warning("cannot create partitions of the delivery log: %s", error.with_fix)
            self._has_failed = True
