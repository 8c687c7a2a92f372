"""Heartbeats of the workers that share a delivery log, which tell which of them are alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import clock_of, reading, writing
from mailctl.delivery_log.storage.tables import workers
from mailctl.delivery_log.transitions import insert_or_ignore

#: Seconds between heartbeats.
HEARTBEAT_SECONDS = 2.0
#: Seconds of silence after which a worker counts as dead.
DEAD_AFTER_SECONDS = 15.0
#: Seconds by which the clock of a worker's host may differ from that of the log.
MAX_CLOCK_SKEW_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A `mailctl worker` process, and the queues that it consumes."""

    #: Unique for each start of a worker.
    id: str
    #: The Celery node name.
    name: str
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    #: Seconds by which the clock of its host is ahead of that of the log; None if it has not said.
    clock_skew: float | None = None

    @property
    def has_wrong_clock(self) -> bool:
        """Whether the clock of its host is wrong, or that of the database."""
        return abs(self.clock_skew or 0.0) > MAX_CLOCK_SKEW_SECONDS


class WorkerRegistry(Repository):
    """Records heartbeats, and lists the workers that are alive."""

    def record_heartbeat(self, worker: Worker) -> None:
        """Record that a worker is alive, and delete workers that have been silent for long."""
        now = self._clock()
        row = {
            "id": worker.id,
            "name": worker.name,
            "host": worker.host,
            "pid": worker.pid,
            "pool": worker.pool,
            "concurrency": worker.concurrency,
            "queues": list(worker.queues),
            "started_at": worker.started_at,
            "seen_at": now,
            "clock_skew": clock_of(self._engine).skew_seconds,
        }
        silent_since = now - timedelta(seconds=4 * DEAD_AFTER_SECONDS)
        with writing(self._engine) as connection:
            connection.execute(delete(workers).where(workers.c.seen_at < silent_since))
            if not insert_or_ignore(connection, workers, row):
                changed = workers.update().where(workers.c.id == worker.id)
                values = {name: row[name] for name in ("seen_at", "queues", "clock_skew")}
                connection.execute(changed.values(**values))

    def unregister(self, worker_id: str) -> None:
        """Delete a worker that is shutting down."""
        with writing(self._engine) as connection:
            connection.execute(delete(workers).where(workers.c.id == worker_id))

    def list_alive(self) -> list[Worker]:
        """Return the workers that are alive, oldest first."""
        now, silence = self._clock(), timedelta(seconds=DEAD_AFTER_SECONDS)
        # A heartbeat in the future comes from a clock that was ahead, and tells nothing.
        is_recent = workers.c.seen_at.between(now - silence, now + silence)
        query = select(workers).where(is_recent).order_by(workers.c.started_at)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        found = [Worker(**{**row._asdict(), "queues": tuple(row.queues)}) for row in rows]
        return [worker for worker in found if not _is_known_dead(worker)]


def _is_known_dead(worker: Worker) -> bool:
    """Whether a worker on this host has no process any more; that is known before its heartbeats stop."""
    if worker.host != socket.gethostname():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
