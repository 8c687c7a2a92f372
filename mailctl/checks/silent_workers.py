"""Workers that do nothing: stopped by a signal, or without a sign of life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import Worker


def describe_silence(worker: Worker, *, now: datetime, is_suspended: bool) -> str:
    """Return what is known of a worker that does nothing, as a clause.

    Args:
        worker: the worker.
        now: the current time, aware.
        is_suspended: whether it is known to be stopped by a signal, so that it can be continued.
    """
    if is_suspended:
        return f"worker {worker.name} is stopped by a signal; `kill -CONT {worker.pid}` resumes it"
    silence = format_duration(now - worker.seen_at)
    where = f"process {worker.pid} on host {worker.host}"
    return f"worker {worker.name} ({where}) has not signed off, and has sent no heartbeat for {silence}"
