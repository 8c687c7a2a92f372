"""A snapshot of the delivery log: activity, queues, workers, failures; and the trend of the last hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueStats
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.queries.time_series import RecentSeries
from mailctl.delivery_log.send_limits import read_learned_limits
from mailctl.monitoring.mail_servers import used_servers
from mailctl.process.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.queries.stat_models import Activity, Latency
    from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: The span that recent activity is counted over.
RECENT_WINDOW = timedelta(minutes=1)
_MAX_FAILURES = 10
#: How far back the trend goes, and the length of its steps.
TREND_WINDOW = timedelta(hours=1)
TREND_STEP = timedelta(minutes=1)
_recent_series: PerProcess[tuple[Runtime, RecentSeries]] = PerProcess()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of the delivery log at one moment."""

    at: datetime
    #: The activity of the preceding minute.
    recent_activity: Activity
    #: The queues with unfinished emails, and those that workers consume, by name.
    queues: tuple[QueueDepth, ...]
    #: The live workers that share the delivery log.
    workers: tuple[Worker, ...]
    #: The latest failed emails, newest first.
    failures: tuple[Email, ...]
    #: The short ids of the failed emails, by id.
    short_ids: Mapping[str, str]
    #: The open circuit to the first mail server if those to all are open; None while emails are sent.
    circuit: Circuit | None
    #: The open circuit to each mail server of live workers, or of this process if none is alive, by its
    #: label, host:port or name (host:port); None while it works.
    mail_servers: Mapping[str, Circuit | None] = field(default_factory=dict)
    #: The rates learned from mail servers, in sentences.
    learned_limits: tuple[str, ...] = ()

    @property
    def open_circuits(self) -> list[Circuit]:
        """The open circuits to mail servers."""
        return [circuit for circuit in self.mail_servers.values() if circuit is not None]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The activity of the last hour, minute by minute."""

    steps: tuple[TimeSeriesPoint, ...]
    #: The number of unfinished emails at the end of each step.
    unfinished: tuple[int, ...]
    #: The latency of the emails recorded in that hour.
    latency: Latency


def take_snapshot(runtime: Runtime) -> Snapshot:
    """Return the current state of the delivery log.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    now, statistics = runtime.clock(), Statistics(runtime.engine)
    workers = tuple(runtime.workers.list_alive())
    idle = {name: QueueDepth(queue=name) for worker in workers for name in worker.email_queues}
    depths = QueueStats(runtime.engine, clock=lambda: now).depths()
    servers = _read_circuits(runtime, workers)
    failing = [circuit for circuit in servers.values() if circuit is not None]
    failures = tuple(statistics.recent_failures(_MAX_FAILURES))
    return Snapshot(
        at=now,
        recent_activity=statistics.activity(since=now - RECENT_WINDOW),
        queues=tuple(queue for _, queue in sorted((idle | depths).items())),
        workers=workers,
        failures=failures,
        short_ids=runtime.history.short_ids(email.id for email in failures),
        circuit=failing[0] if failing and len(failing) == len(servers) else None,
        mail_servers=servers,
        learned_limits=tuple(map(str, read_learned_limits(runtime.engine, now=now))),
    )


def _read_circuits(runtime: Runtime, workers: Sequence[Worker]) -> dict[str, Circuit | None]:
    """Return the open circuit to each mail server that live workers use, or else this process."""
    found = {circuit.server: circuit for circuit in read_circuits(runtime.engine) if circuit.is_open}
    return {server: found.get(server) for server in used_servers(runtime, workers) if server}


def take_trend(runtime: Runtime, *, now: datetime) -> Trend:
    """Return the activity of the hour before `now`; a process reads only what is new since it has asked last.

    One thread at a time may call this.

    Args:
        now: the end of the hour, not in the future.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    _, series = _recent_series.get(
        lambda: (runtime, _open_series(runtime)), is_usable=lambda existing: existing[0] is runtime
    )
    steps, latency = series.read(now=now)
    depths = QueueStats(runtime.engine, clock=lambda: now).depths()
    unfinished = sum(queue.unfinished for queue in depths.values())
    return Trend(
        steps=tuple(steps), unfinished=unfinished_per_step(tuple(steps), unfinished), latency=latency
    )


def _open_series(runtime: Runtime) -> RecentSeries:
    return RecentSeries(runtime.engine, window=TREND_WINDOW, step=TREND_STEP, kinds=runtime.catalog.kinds)


def unfinished_per_step(steps: tuple[TimeSeriesPoint, ...], unfinished: int) -> tuple[int, ...]:
    """Return the number of unfinished emails at the end of each step, computed backwards.

    Args:
        steps: the steps, oldest first.
        unfinished: the number at the end of the last step.
    """
    counts = []
    for step in reversed(steps):
        counts.append(unfinished)
        # An email that was retried has ended twice: the number may come out too high, but never negative.
        unfinished = max(0, unfinished - step.recorded + step.ended)
    return tuple(reversed(counts))
