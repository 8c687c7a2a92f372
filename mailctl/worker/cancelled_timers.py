"""Removes cancelled timers from a worker's event loop.

Each task that a pool of processes accepts has a timer for its time limit (`task_time_limit`). Celery cancels
it when the task has ended, but its entry stays until it would have been due: half an hour with the default
of mailctl, in which a busy worker accepts tens of thousands of tasks, at almost a kilobyte each.
"""

from __future__ import annotations

import heapq
from typing import Any, ClassVar

from celery import bootsteps
from kombu.asynchronous.timer import Timer
from typing_extensions import override

#: Seconds between two times.
_SECONDS = 30


class CancelledTimerStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Removes cancelled timers now and then, in the thread of the event loop."""

    requires: ClassVar = {"celery.worker.components:Timer"}

    @override
    def include_if(self, parent: Any) -> bool:
        """Whether the worker has an event loop; other pools have no timers for time limits."""
        return isinstance(parent.timer, Timer)

    def start(self, parent: Any) -> None:
        """Begin to remove timers."""
        parent.timer.call_repeatedly(_SECONDS, remove_cancelled, (parent.timer,))


def remove_cancelled(timer: Timer) -> None:
    """Remove the entries of a timer that have been cancelled; the others stay in their order."""
    queue = timer._queue  # `clear` is all that its interface can remove
    queue[:] = [scheduled for scheduled in queue if not scheduled.entry.canceled]
    heapq.heapify(queue)
