"""Pool processes that are younger than a claim."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.pool_processes import count_replaced_processes
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.delivery_log.heartbeats import Worker

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir() or not list(Path("/proc/self/task").glob("*/children")),
    reason="this system does not tell the children of a process",
)


def here(**more: Any) -> Worker:
    """Return a worker that is this process."""
    return worker(**{"host": socket.gethostname(), "pid": os.getpid(), "pool": "prefork", **more})


@pytest.fixture
def child() -> Iterator[None]:
    """A process that this one has just started."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield
        assert process.stdin is not None
        process.stdin.write(b"\n")


@pytest.mark.usefixtures("child")
def test_processes_that_were_started_after_a_time_are_counted() -> None:
    """A claim from before them was that of another process."""
    now = datetime.now(UTC)
    assert count_replaced_processes(here(), since=now - timedelta(hours=1)) >= 1
    assert count_replaced_processes(here(), since=now + timedelta(hours=1)) == 0


@pytest.mark.usefixtures("child")
@pytest.mark.parametrize("more", [{"host": "elsewhere"}, {"pool": "solo"}, {"pid": 2**22 + 1}])
def test_of_others_nothing_is_known(more: dict[str, Any]) -> None:
    """Workers of other hosts, without pool processes, or that are gone."""
    assert count_replaced_processes(here(**more), since=datetime.now(UTC) - timedelta(hours=1)) == 0
