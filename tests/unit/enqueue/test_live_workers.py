"""The live workers are read once for many emails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.enqueue.live_workers import LiveWorkers, publish_at_once
from tests.emails import NOW
from tests.unit.worker.fakes import Calls
from tests.workers import worker


def workers(*queues: tuple[str, ...]) -> tuple[LiveWorkers, Calls]:
    """Return the live workers, each with two processes, and the registry that they are read from."""
    found = [SimpleNamespace(queues=each, concurrency=2) for each in queues]
    registry: Any = Calls(list_alive=[found])
    return LiveWorkers(registry), registry


def test_they_are_cached() -> None:
    """Each email asks for them."""
    live, registry = workers(("celery",), ("celery", "billing"))
    assert live.consumed_queues() == {"celery", "billing"}
    assert (live.slots("celery"), live.slots("billing"), live.slots("other")) == (4, 2, 0)
    assert registry.names == ["list_alive"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], False),
        ([worker(publishes_at_once=True)], True),
        ([worker(), worker(publishes_at_once=True)], True),
        ([worker()], False),
        ([worker(publishes_at_once=True, queues=("billing",))], False),
        ([worker(NOW - timedelta(seconds=14), publishes_at_once=True)], False),
    ],
)
def test_a_relay_that_says_so_publishes_at_once(found: list[Any], expected: bool) -> None:
    """If its worker consumes the queue and has given a sign of life just now."""
    assert publish_at_once(found, queue="celery", now=NOW) is expected


def test_a_suspended_worker_publishes_nothing() -> None:
    """Its last heartbeat may have been a moment ago."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        own = worker(host=socket.gethostname(), pid=process.pid, publishes_at_once=True)
        assert publish_at_once([own], queue="celery", now=NOW)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert not publish_at_once([own], queue="celery", now=NOW)
        process.kill()
