"""Limits that an alarm watches: each is a number that is looked up, and a bound that it must keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.stat_models import Queue
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.operations.known_names import check_queue_anywhere
from mailctl.settings import BULK_QUEUE
from mailctl.timefmt import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What must hold for all to be well."""

    #: Emails that should be out by now, in one queue.
    max_depth: int
    #: How long an email may wait.
    max_age: timedelta
    #: The share of emails that may fail, from 0 to 1.
    max_failed: float
    #: Workers that must be alive.
    min_workers: int
    #: How far back failures are counted.
    since: timedelta
    #: The one queue to look at; None looks at all but that of campaigns, which is long and slow on purpose.
    queue: str | None = None


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """Whether one limit is kept."""

    name: str
    #: What was found: a number, seconds or a share; None where there is nothing to judge.
    value: float | None
    limit: float
    ok: bool
    #: What is the matter, in a sentence; what was looked at where all is well.
    reason: str


def check_limits(runtime: Runtime, limits: Limits) -> list[LimitCheck]:
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


def _is_watched(queue: Queue, limits: Limits) -> bool:
    return queue.name == limits.queue if limits.queue else queue.name != BULK_QUEUE


def _depth(queues: Sequence[Queue], limits: Limits) -> LimitCheck:
    deepest = max(queues, key=lambda queue: queue.depth, default=Queue(name=limits.queue or "any"))
    return LimitCheck(
        name="depth",
        value=deepest.depth,
        limit=limits.max_depth,
        ok=deepest.depth <= limits.max_depth,
        reason=f"{deepest.depth} emails wait in queue {deepest.name!r}; {limits.max_depth} may",
    )


def _age(queues: Sequence[Queue], limits: Limits, *, now: datetime) -> LimitCheck:
    waiting = [(queue.oldest, queue.name) for queue in queues if queue.oldest is not None]
    most = limits.max_age.total_seconds()
    if not waiting:
        return LimitCheck(name="age", value=0.0, limit=most, ok=True, reason="no email waits")
    oldest, name = min(waiting)
    age = max(0.0, (now - oldest).total_seconds())
    waited = span(timedelta(seconds=age))
    reason = f"the oldest email in queue {name!r} has waited for {waited}; {span(limits.max_age)} are allowed"
    return LimitCheck(name="age", value=round(age, 3), limit=most, ok=age <= most, reason=reason)


def _failed(statistics: Statistics, limits: Limits, *, now: datetime) -> LimitCheck:
    lately = statistics.activity(since=now - limits.since, queue=limits.queue)
    rate, minutes = lately.failure_rate, limits.since.total_seconds() / 60
    if rate is None:
        reason = f"no email ended in the last {minutes:g} min"
        return LimitCheck(name="failed", value=None, limit=limits.max_failed, ok=True, reason=reason)
    return LimitCheck(
        name="failed",
        value=round(rate, 4),
        limit=limits.max_failed,
        ok=rate <= limits.max_failed,
        reason=f"{lately.failed} of {lately.failed + lately.delivered} emails that ended in the last "
        f"{minutes:g} min failed ({rate:.1%}); {limits.max_failed:.1%} may",
    )


def _workers(runtime: Runtime, limits: Limits) -> LimitCheck:
    alive = [
        worker for worker in runtime.workers.alive() if limits.queue is None or limits.queue in worker.queues
    ]
    where = f" on queue {limits.queue!r}" if limits.queue else ""
    return LimitCheck(
        name="workers",
        value=len(alive),
        limit=limits.min_workers,
        ok=len(alive) >= limits.min_workers,
        reason=f"workers alive{where}: {len(alive)}; at least {limits.min_workers} must be",
    )


def _mail_server(runtime: Runtime) -> LimitCheck:
    circuit = runtime.circuits.read() if runtime.circuits else None
    is_open = circuit is not None and circuit.is_open
    reason = str(circuit) if is_open else "no failures in a row keep emails from the mail server"
    return LimitCheck(name="mail-server", value=float(is_open), limit=0, ok=not is_open, reason=reason)
