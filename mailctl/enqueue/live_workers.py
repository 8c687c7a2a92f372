"""The live workers that share the delivery log: what publishers ask about them with every email."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS, is_suspended

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import Worker, WorkerRegistry

#: Seconds for which the list of live workers is cached; an empty list for less.
_CACHE_SECONDS = 5.0
_EMPTY_CACHE_SECONDS = 1.0
#: The age of the last heartbeat up to which a relay can be relied upon to publish now.
_FRESH = timedelta(seconds=2.5 * HEARTBEAT_SECONDS)


def publish_at_once(workers: Iterable[Worker], *, queue: str, now: datetime) -> bool:
    """Return whether the relay of a worker that consumes a queue publishes its new emails at once.

    Args:
        workers: the live workers that share the delivery log.
        queue: the queue of the new emails.
        now: the current time, by the clock of the log.
    """
    return any(
        worker.publishes_at_once
        and queue in worker.queues
        and now - worker.seen_at <= _FRESH
        and not is_suspended(worker)
        for worker in workers
    )


class LiveWorkers:
    """The live workers, as they were a moment ago.

    Args:
        registry: of the delivery log.
    """

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry
        self._read_at = 0.0
        self._workers: tuple[Worker, ...] = ()

    def list(self) -> tuple[Worker, ...]:
        """Return the workers.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        age = time.monotonic() - self._read_at
        if age > (_CACHE_SECONDS if self._workers else _EMPTY_CACHE_SECONDS):
            self._workers = tuple(self._registry.list_alive())
            self._read_at = time.monotonic()
        return self._workers

    def slots(self, queue: str) -> int:
        """Return how many tasks of a queue they execute at the same time.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        return sum(worker.concurrency for worker in self.list() if queue in worker.queues)

    def consumed_queues(self) -> frozenset[str]:
        """Return the queues that they consume.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        return frozenset(queue for worker in self.list() for queue in worker.queues)
