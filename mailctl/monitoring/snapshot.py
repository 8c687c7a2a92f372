"""How things stand at this moment: what goes in and out, what waits, who works, what failed last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.stat_models import QueueTotals
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.queries.time_series import time_series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.queries.stat_models import Activity, Latency
    from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: What "lately" is.
RECENT_WINDOW = timedelta(minutes=1)
_MAX_FAILURES = 10
#: How far back the trend goes, and the length of its steps.
TREND_WINDOW = timedelta(hours=1)
TREND_STEP = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How things stand at one moment."""

    at: datetime
    #: What happened in the minute before.
    recent_activity: Activity
    #: Those with unfinished emails, and those that workers consume.
    queues: tuple[QueueTotals, ...]
    #: The workers that share the delivery log and are alive.
    workers: tuple[Worker, ...]
    #: The latest first.
    failures: tuple[Email, ...]
    #: The short ids of the failures.
    short_ids: Mapping[str, str]
    #: What is known of the mail server if it does not work, and nothing is sent because of that.
    circuit: Circuit | None


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How it came to stand so: the last hour, minute by minute."""

    steps: tuple[TimeSeriesPoint, ...]
    #: Emails that were not finished at the end of each step.
    unfinished: tuple[int, ...]
    #: Of those recorded in that time.
    latency: Latency


def take_snapshot(runtime: Runtime) -> Snapshot:
    """Return how things stand now, by the delivery log.

    Raises:
        LogUnavailable: it cannot be read.
    """
    now, statistics = datetime.now(UTC), Statistics(runtime.engine)
    workers = tuple(runtime.workers.list_alive())
    waiting = {queue.name: queue for queue in statistics.queues(now=now)}
    idle = {name: QueueTotals(name=name) for worker in workers for name in worker.queues}
    circuit = runtime.circuits.read() if runtime.circuits else None
    failures = tuple(statistics.recent_failures(_MAX_FAILURES))
    return Snapshot(
        at=now,
        recent_activity=statistics.activity(since=now - RECENT_WINDOW),
        queues=tuple(queue for _, queue in sorted((idle | waiting).items())),
        workers=workers,
        failures=failures,
        short_ids=runtime.history.short_ids(email.id for email in failures),
        circuit=circuit if circuit and circuit.is_open else None,
    )


def take_trend(runtime: Runtime, *, now: datetime) -> Trend:
    """Return what happened in the hour before a moment, by the delivery log.

    Args:
        now: the moment, not in the future.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    since, statistics = now - TREND_WINDOW, Statistics(runtime.engine)
    steps = tuple(time_series(runtime.engine, since, now, TREND_STEP, kinds=runtime.catalog.kinds))
    depth = sum(sum(queue.states.values()) for queue in statistics.queues(now=now))
    return Trend(
        steps=steps, unfinished=_unfinished_per_step(steps, depth), latency=statistics.latency(since, now)
    )


def _unfinished_per_step(steps: tuple[TimeSeriesPoint, ...], depth: int) -> tuple[int, ...]:
    """Return how many emails were not finished at the end of each step, from how many are now."""
    found = []
    for step in reversed(steps):
        found.append(depth)
        # What was retried after its end has ended twice: then it comes out too high, never below zero.
        depth = max(0, depth - step.recorded + step.ended)
    return tuple(reversed(found))
