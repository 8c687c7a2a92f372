"""Limits that an alarm watches: each is a number that is looked up, and a bound that it must keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.stat_models import QueueTotals
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.operations.known_names import check_queue_anywhere
from mailctl.settings import BULK_QUEUE
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What must hold for all to be well."""

    #: Emails that should be out by now, in one queue.
    max_depth: int
    #: How long an email may wait.
    max_age: timedelta
    #: The share of emails that may fail, from 0 to 1.
    max_failure_rate: float
    #: Workers that must be alive.
    min_workers: int
    #: How far back failures are counted.
    failure_window: timedelta
    #: The one queue to look at; None looks at all but that of campaigns, which is long and slow on purpose.
    queue: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdCheck:
    """Whether one limit is kept."""

    name: str
    #: What was found: a number, seconds or a share; None where there is nothing to judge.
    value: float | None
    limit: float
    ok: bool
    #: What is the matter, in a sentence; what was looked at where all is well.
    reason: str


def check_thresholds(runtime: Runtime, limits: Thresholds) -> list[ThresholdCheck]:
    """Return whether each limit is kept, by the delivery log.

    Raises:
        LogUnavailable: it cannot be read.
        NotFound: nobody knows the queue, and nothing else is wrong.
    """
    now, statistics = datetime.now(UTC), Statistics(runtime.engine)
    queues = [queue for queue in statistics.queues(now=now) if _is_watched(queue, limits)]
    checks = [
        _depth(queues, limits),
        _age(queues, limits, now=now),
        _failed(statistics, limits, now=now),
        _workers(runtime, limits),
        _mail_server(runtime),
    ]
    if limits.queue and all(check.ok for check in checks):
        check_queue_anywhere(runtime, limits.queue)
    return checks


def _is_watched(queue: QueueTotals, limits: Thresholds) -> bool:
    return queue.name == limits.queue if limits.queue else queue.name != BULK_QUEUE


def _depth(queues: Sequence[QueueTotals], limits: Thresholds) -> ThresholdCheck:
    deepest = max(queues, key=lambda queue: queue.depth, default=QueueTotals(name=limits.queue or "any"))
    return ThresholdCheck(
        name="depth",
        value=deepest.depth,
        limit=limits.max_depth,
        ok=deepest.depth <= limits.max_depth,
        reason=f"{deepest.depth} emails wait in queue {deepest.name!r}; {limits.max_depth} may",
    )


def _age(queues: Sequence[QueueTotals], limits: Thresholds, *, now: datetime) -> ThresholdCheck:
    waiting = [(queue.oldest, queue.name) for queue in queues if queue.oldest is not None]
    most = limits.max_age.total_seconds()
    if not waiting:
        return ThresholdCheck(name="age", value=0.0, limit=most, ok=True, reason="no email waits")
    oldest, name = min(waiting)
    age = max(0.0, (now - oldest).total_seconds())
    waited = format_duration(timedelta(seconds=age))
    allowed = format_duration(limits.max_age)
    reason = f"the oldest email in queue {name!r} has waited for {waited}; {allowed} are allowed"
    return ThresholdCheck(name="age", value=round(age, 3), limit=most, ok=age <= most, reason=reason)


def _failed(statistics: Statistics, limits: Thresholds, *, now: datetime) -> ThresholdCheck:
    lately = statistics.activity(since=now - limits.failure_window, queue=limits.queue)
    rate, minutes = lately.failure_rate, limits.failure_window.total_seconds() / 60
    if rate is None:
        reason = f"no email ended in the last {minutes:g} min"
        return ThresholdCheck(
            name="failed", value=None, limit=limits.max_failure_rate, ok=True, reason=reason
        )
    return ThresholdCheck(
        name="failed",
        value=round(rate, 4),
        limit=limits.max_failure_rate,
        ok=rate <= limits.max_failure_rate,
        reason=f"{lately.failed} of {lately.failed + lately.delivered} emails that ended in the last "
        f"{minutes:g} min failed ({rate:.1%}); {limits.max_failure_rate:.1%} may",
    )


def _workers(runtime: Runtime, limits: Thresholds) -> ThresholdCheck:
    alive = [
        worker
        for worker in runtime.workers.list_alive()
        if limits.queue is None or limits.queue in worker.queues
    ]
    where = f" on queue {limits.queue!r}" if limits.queue else ""
    return ThresholdCheck(
        name="workers",
        value=len(alive),
        limit=limits.min_workers,
        ok=len(alive) >= limits.min_workers,
        reason=f"workers alive{where}: {len(alive)}; at least {limits.min_workers} must be",
    )


def _mail_server(runtime: Runtime) -> ThresholdCheck:
    circuit = runtime.circuits.read() if runtime.circuits else None
    is_open = circuit is not None and circuit.is_open
    reason = str(circuit) if is_open else "no failures in a row keep emails from the mail server"
    return ThresholdCheck(name="mail-server", value=float(is_open), limit=0, ok=not is_open, reason=reason)
