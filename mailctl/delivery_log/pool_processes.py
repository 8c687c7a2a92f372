"""The pool processes of workers of this host: how many of them are younger than a claim."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.delivery_log.heartbeats import Worker

#: The one pool whose processes can be killed while the worker lives on.
_PREFORK = "prefork"
#: The field of the start time in /proc/PID/stat, counted from the one after the name of the program.
_START_FIELD = 19
#: Seconds by which two clocks of one host may differ in what follows.
_TOLERANCE_SECONDS = 0.5


def count_replaced_processes(worker: Worker, *, since: datetime) -> int:
    """Return how many pool processes of a worker were started after a time, because others had died.

    A worker starts a new process for each that dies, such as one that was killed because memory ran out.

    Args:
        worker: a live worker.
        since: a time after the worker's start, by the clock of this host.

    Returns:
        The number; 0 also if it cannot be known, on another host or system.
    """
    is_here = worker.host == socket.gethostname() and worker.pool == _PREFORK
    if not is_here:
        return 0
    border = since + timedelta(seconds=_TOLERANCE_SECONDS)
    return sum(started > border for started in _start_times(worker.pid))


def _start_times(pid: int) -> Iterator[datetime]:
    """Yield when the children of a process were started; nothing where that is not told."""
    booted = datetime.now(UTC) - timedelta(seconds=boottime())
    for child in child_processes(pid):
        try:
            # The name of the program, in parentheses, may contain anything.
            fields = Path(f"/proc/{child}/stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks = int(fields[_START_FIELD])
        except (OSError, ValueError, IndexError):
            continue
        yield booted + timedelta(seconds=ticks / os.sysconf("SC_CLK_TCK"))


def child_processes(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started; none where the system does not tell.

    Args:
        pid: the id of the process.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return [int(child) for task in tasks for child in task.read_text().split()]
    except (OSError, ValueError):
        return []
