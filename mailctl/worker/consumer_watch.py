"""The watch over the consumer: it is restarted if it takes no message although it could."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celery.worker import state

from mailctl.delivery_log.pauses import PauseScope
from mailctl.errors import BrokerUnavailable
from mailctl.timefmt import pluralize
from mailctl.worker.consumer_activity import ACTIVITY_ATTRIBUTE, is_stopping
from mailctl.worker.relay_clocks import IntervalTimer
from mailctl.worker.restarts import RestartLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: Seconds for which messages wait and none is taken before the consumer is restarted.
STALL_SECONDS = 15.0
#: Seconds between two looks at a consumer.
CHECK_SECONDS = 5.0


class ConsumerStalled(ConnectionError):
    """The consumer takes no message; Celery connects it again."""


class CeleryConsumer:
    """The consumer of a Celery worker.

    Args:
        worker: the Celery worker.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def activity(self) -> object:
        """Return a value that changes when the consumer receives a message or connects."""
        activity = getattr(self._worker.consumer, ACTIVITY_ATTRIBUTE)
        return (activity.received, activity.connections)

    def queues(self) -> Collection[str]:
        """Return the names of the queues that it consumes."""
        return tuple(self._worker.app.amqp.queues.consume_from)

    def has_free_slot(self) -> bool:
        """Whether the worker could begin another task: tasks with a rate limit wait outside the pool."""
        buckets = (bucket for bucket in self._worker.consumer.task_buckets.values() if bucket)
        held = len(state.reserved_requests) + sum(len(bucket.contents) for bucket in buckets)
        return bool(held < self._worker.consumer.pool.num_processes)

    def restart(self) -> None:
        """Make it connect again: its event loop raises an error that Celery takes for a lost connection."""
        self._worker.consumer.call_soon(_raise_stalled)


def _raise_stalled() -> None:
    if is_stopping():  # a closing event loop still runs its pending callbacks
        return
    raise ConsumerStalled("the consumer took no message")


class ConsumerWatch:
    """Restarts a consumer that takes no message although messages wait and a process of the worker is free.

    A lost connection that looks open, or a prefetch slot that is never given back, may be the cause.

    Args:
        runtime: the parts of this process.
        consumer: the consumer.
        broker: tells how many messages wait.
        on_failed: called with the reason when the consumer stalls again after too many restarts.
        monotonic: returns the seconds of the monotonic clock.
    """

    def __init__(
        self,
        runtime: Runtime,
        consumer: CeleryConsumer,
        *,
        broker: BrokerInspector,
        on_failed: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._consumer = consumer
        self._broker = broker
        self._on_failed = on_failed
        self._monotonic = monotonic
        self._timer = IntervalTimer(CHECK_SECONDS, monotonic=monotonic)
        self._restarts = RestartLimit(monotonic=monotonic)
        self._activity: object = None
        self._stalled_since = monotonic()

    def check(self) -> None:
        """Restart the consumer if it has stalled.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if not self._timer.restart_if_due():
            return
        activity, waiting = self._consumer.activity(), None
        if activity == self._activity and self._consumer.has_free_slot():
            waiting = self._find_waiting()
        self._activity = activity
        if not waiting:
            self._stalled_since = self._monotonic()
        elif self._monotonic() - self._stalled_since >= STALL_SECONDS:
            self._stalled_since = self._monotonic()
            self._restart(*waiting)

    def _find_waiting(self) -> tuple[str, int] | None:
        """Return the first queue with messages that this worker should take, and their number."""
        circuits = [each.read() for each in self._runtime.circuits_by_server.values()]
        if any(circuit is not None and circuit.is_open for circuit in circuits):
            return None
        pauses = self._runtime.pauses.read()
        paused = {pause.name for pause in pauses if pause.scope is PauseScope.QUEUE}
        queues = [queue for queue in self._consumer.queues() if queue not in paused]
        try:
            counts = self._broker.ready_counts(queues)
        except BrokerUnavailable:  # then the consumer is not to blame
            return None
        return next(((queue, count) for queue, count in counts.items() if count), None)

    def _restart(self, queue: str, count: int) -> None:
        stall = (
            f"{pluralize(count, 'message')} in queue {queue!r} and a process free, "
            f"but the consumer took none for {STALL_SECONDS:g} s"
        )
        if not self._restarts.take():
            self._on_failed(f"{stall} again, after it was restarted {self._restarts}")
            return
        _log.error("%s; restarting the consumer (%s)", stall, self._restarts)
        self._consumer.restart()
