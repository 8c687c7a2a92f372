"""The figures of the overview: read once for all viewers of a process, at most every two seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import PauseScope
from mailctl.monitoring.incident.evidence import read_recent_facts
from mailctl.monitoring.incident.report import find_logged_incident
from mailctl.monitoring.snapshot import take_snapshot, take_trend
from mailctl.process.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.monitoring.incident.evidence import RecentFacts
    from mailctl.monitoring.incident.models import Incident
    from mailctl.monitoring.snapshot import Snapshot, Trend
    from mailctl.runtime import Runtime

#: How long the figures are shown before they are read again, in seconds.
SHARED_SECONDS = 2.0
#: How long the errors and campaigns of its incident are shown, which take longest to read.
RECENT_FACTS_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class OverviewFigures:
    """The figures of the overview."""

    #: What is wrong now, according to the delivery log.
    incident: Incident
    snapshot: Snapshot
    trend: Trend
    #: The names of the paused queues.
    paused_queues: frozenset[str]
    _runtime: Runtime
    #: When they had been read, in monotonic seconds: reading a large log takes a while itself.
    _read_at: float

    @property
    def consumed_queues(self) -> frozenset[str]:
        """The queues that live workers consume."""
        return frozenset(queue for worker in self.snapshot.workers for queue in worker.queues)

    def is_fresh(self, runtime: Runtime, now: float) -> bool:
        """Whether they are those of a runtime, and not too old."""
        return self._runtime is runtime and now - self._read_at < SHARED_SECONDS


@dataclass(frozen=True, kw_only=True)
class _SharedFacts:
    """The errors and campaigns that several readings share."""

    facts: RecentFacts
    runtime: Runtime
    #: When they had been read, in monotonic seconds.
    read_at: float


_figures: PerProcess[OverviewFigures] = PerProcess()
_recent_facts: PerProcess[_SharedFacts] = PerProcess()


def overview_figures(runtime: Runtime, *, clock: Callable[[], float] = time.monotonic) -> OverviewFigures:
    """Return the figures, which are read again if they are older than `SHARED_SECONDS`.

    Args:
        runtime: the components of this process.
        clock: returns monotonic seconds.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    return _figures.get(
        lambda: _read(runtime, clock), is_usable=lambda figures: figures.is_fresh(runtime, clock())
    )


def _read(runtime: Runtime, clock: Callable[[], float]) -> OverviewFigures:
    snapshot = take_snapshot(runtime)
    paused = (pause.name for pause in runtime.pauses.read() if pause.scope is PauseScope.QUEUE)
    return OverviewFigures(
        incident=find_logged_incident(runtime, recent=_read_recent(runtime, clock)),
        snapshot=snapshot,
        trend=take_trend(runtime, now=snapshot.at),
        paused_queues=frozenset(paused),
        _runtime=runtime,
        _read_at=clock(),
    )


def _read_recent(runtime: Runtime, clock: Callable[[], float]) -> RecentFacts:
    """Return the errors and campaigns, which are read again if they are older than `RECENT_FACTS_SECONDS`."""

    def is_usable(known: _SharedFacts) -> bool:
        return known.runtime is runtime and clock() - known.read_at < RECENT_FACTS_SECONDS

    return _recent_facts.get(
        lambda: _SharedFacts(facts=read_recent_facts(runtime), runtime=runtime, read_at=clock()),
        is_usable=is_usable,
    ).facts
