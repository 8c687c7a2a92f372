"""Stopping a worker of this host by a signal."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from mailctl.delivery_log.heartbeats import Worker

STOP_REQUESTED = "stopping; it finishes its current emails first"
#: The age of a heartbeat after which its process id may belong to another process.
_MAX_SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """The result of asking a worker to stop."""

    name: str
    is_requested: bool
    detail: str


def terminate(worker: Worker) -> StopResult:
    """Send SIGTERM to a worker of this host; only a recent heartbeat proves that the pid is its own."""
    if obstacle := stop_obstacle(worker):
        return StopResult(name=worker.name, is_requested=False, detail=obstacle)
    try:
        os.kill(worker.pid, signal.SIGTERM)
    except OSError as error:
        detail = f"process {worker.pid}: {(error.strerror or 'cannot be stopped').lower()}"
        return StopResult(name=worker.name, is_requested=False, detail=detail)
    return StopResult(name=worker.name, is_requested=True, detail=STOP_REQUESTED)


def stop_obstacle(worker: Worker) -> str:
    """Return why a worker cannot be stopped by a signal from this host now; "" if it can."""
    return find_stop_obstacle(worker, host=socket.gethostname(), now=datetime.now(UTC))


def find_stop_obstacle(worker: Worker, *, host: str, now: datetime) -> str:
    """Return why a worker cannot be stopped by a signal from a host; "" if it can."""
    if worker.host != host:
        return f"it runs on host {worker.host}; stop process {worker.pid} there"
    silence = now - worker.seen_at
    if silence > timedelta(seconds=_MAX_SILENCE_SECONDS):
        return f"no heartbeat for {silence.total_seconds():.0f} s; check process {worker.pid}"
    return ""
