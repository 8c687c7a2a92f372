"""How things stand at this moment: what goes in and out, what waits, who works, what failed last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.log.counts import Queue
from mailctl.log.statistics import Statistics

if TYPE_CHECKING:
    from mailctl.log.circuits import Circuit
    from mailctl.log.counts import Activity
    from mailctl.log.workers import Worker
    from mailctl.message import Email
    from mailctl.runtime import Runtime

#: What "lately" is.
RECENT = timedelta(minutes=1)
_MOST_FAILURES = 10


@dataclass(frozen=True, kw_only=True)
class Overview:
    """How things stand at one moment."""

    at: datetime
    #: What happened in the minute before.
    lately: Activity
    #: Those with unfinished emails, and those that workers consume.
    queues: tuple[Queue, ...]
    #: The workers that share the delivery log and are alive.
    workers: tuple[Worker, ...]
    #: The latest first.
    failures: tuple[Email, ...]
    #: What is known of the mail server if it does not work, and nothing is sent because of that.
    circuit: Circuit | None


def take_overview(runtime: Runtime) -> Overview:
    """Return how things stand now, by the delivery log.

    Raises:
        LogUnavailable: it cannot be read.
    """
    now, statistics = datetime.now(UTC), Statistics(runtime.engine)
    workers = tuple(runtime.workers.alive())
    waiting = {queue.name: queue for queue in statistics.queues(now=now)}
    idle = {name: Queue(name=name) for worker in workers for name in worker.queues}
    circuit = runtime.circuits.read() if runtime.circuits else None
    return Overview(
        at=now,
        lately=statistics.activity(since=now - RECENT),
        queues=tuple(queue for _, queue in sorted((idle | waiting).items())),
        workers=workers,
        failures=tuple(statistics.failures(_MOST_FAILURES)),
        circuit=circuit if circuit and circuit.is_open else None,
    )
