"""Heartbeats of the workers that share a delivery log, which tell which of them are alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from mailctl.delivery_log.process_identity import ProcessIdentity
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.storage.tables import workers
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.settings import GROUPS_QUEUE

if TYPE_CHECKING:
    from sqlalchemy import Row

#: Seconds between heartbeats.
HEARTBEAT_SECONDS = 2.0
#: Seconds of silence after which a worker counts as dead.
DEAD_AFTER_SECONDS = 15.0
#: Seconds for which a silent worker may still be one that has just died, whose messages nobody else has.
RECENTLY_DEAD_SECONDS = 4 * DEAD_AFTER_SECONDS
#: Seconds after which a live worker deletes the record of one that did not sign off.
FORGOTTEN_AFTER_SECONDS = 3600.0
#: The columns that a heartbeat updates.
_CHANGING = ("seen_at", "queues", "clock_skew", "identity", "publishes_at_once")
#: Seconds by which the clock of a worker's host may differ from that of the log.
MAX_CLOCK_SKEW_SECONDS = 2.0


def has_skew(seconds: float) -> bool:
    """Whether a clock that is ahead of that of the log by so many seconds differs too much from it."""
    return abs(seconds) > MAX_CLOCK_SKEW_SECONDS


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
    #: What it runs with; None if it has another version of mailctl, which does not say so.
    identity: ProcessIdentity | None = None
    #: Whether its relay notices new emails at once and can publish them, so that nobody else needs to.
    publishes_at_once: bool = False

    @property
    def email_queues(self) -> tuple[str, ...]:
        """The queues that it consumes, without that of groups, whose emails belong to other queues."""
        return tuple(queue for queue in self.queues if queue != GROUPS_QUEUE)


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
            "identity": worker.identity and worker.identity.to_json(),
            "publishes_at_once": worker.publishes_at_once,
        }
        silent_since = now - timedelta(seconds=FORGOTTEN_AFTER_SECONDS)
        with writing(self._engine) as connection:
            connection.execute(delete(workers).where(workers.c.seen_at < silent_since))
            if not insert_or_ignore(connection, workers, row):
                changed = workers.update().where(workers.c.id == worker.id)
                values = {name: row[name] for name in _CHANGING}
                connection.execute(changed.values(**values))

    def unregister(self, worker_id: str) -> None:
        """Delete a worker that is shutting down."""
        with writing(self._engine) as connection:
            connection.execute(delete(workers).where(workers.c.id == worker_id))

    def list_alive(self) -> list[Worker]:
        """Return the workers that are alive, oldest first."""
        now = self._clock()
        return [worker for worker in self._select() if self._is_alive(worker, now=now)]

    def list_silent(self, *, within_seconds: float = RECENTLY_DEAD_SECONDS) -> list[Worker]:
        """Return the workers that have not signed off and are not alive, oldest first.

        Args:
            within_seconds: how old their last heartbeat may be. Without a live worker all are returned,
                because the last ones that were alive are what an operator looks for.
        """
        now = self._clock()
        every = self._select()
        silent = [worker for worker in every if not self._is_alive(worker, now=now)]
        if len(silent) == len(every):
            return silent
        return [worker for worker in silent if now - worker.seen_at <= timedelta(seconds=within_seconds)]

    @staticmethod
    def _is_alive(worker: Worker, *, now: datetime) -> bool:
        silence = timedelta(seconds=DEAD_AFTER_SECONDS)
        # A heartbeat in the future comes from a clock that was ahead, and tells nothing.
        return -silence <= now - worker.seen_at <= silence and not _is_known_dead(worker)

    def _select(self) -> list[Worker]:
        query = select(workers).order_by(workers.c.started_at)
        with reading(self._engine) as connection:
            return [_worker_of(row) for row in connection.execute(query)]


def is_suspended(worker: Worker) -> bool:
    """Whether a worker is a process of this host that is stopped, as by SIGSTOP or a debugger."""
    if worker.host != socket.gethostname():
        return False
    try:
        # The name of the program, in parentheses, may contain anything.
        state = Path(f"/proc/{worker.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t")


def _worker_of(row: Row[Any]) -> Worker:
    identity = None if row.identity is None else ProcessIdentity.from_json(row.identity)
    return Worker(**{**row._asdict(), "queues": tuple(row.queues), "identity": identity})


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
