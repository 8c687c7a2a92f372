"""Heartbeats: which workers count as alive."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.heartbeats import (
    DEAD_AFTER_SECONDS,
    FORGOTTEN_AFTER_SECONDS,
    RECENTLY_DEAD_SECONDS,
    WorkerRegistry,
)
from tests.workers import worker

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

WORKER = worker(host="another-host", pid=1)


@pytest.mark.parametrize(
    ("seconds", "is_alive"), [(0, True), (DEAD_AFTER_SECONDS, True), (DEAD_AFTER_SECONDS + 1, False)]
)
def test_a_silent_worker_is_dead(log: Log, seconds: float, is_alive: bool) -> None:
    """After some seconds, wherever it runs."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    workers.record_heartbeat(WORKER)
    log.forward(seconds)
    assert bool(workers.list_alive()) is is_alive


def test_a_heartbeat_of_the_future_tells_nothing(log: Log) -> None:
    """A clock was ahead when it was written."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    log.forward(3600)
    workers.record_heartbeat(WORKER)
    log.forward(-3600)
    assert workers.list_alive() == []


def test_a_worker_without_a_process_on_this_host_is_dead_at_once(log: Log) -> None:
    """Its heartbeats need not run out first."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    here = replace(WORKER, host=socket.gethostname())
    workers.record_heartbeat(replace(here, id="alive", pid=os.getpid()))
    # Above the largest process id that Linux gives.
    workers.record_heartbeat(replace(here, id="dead", pid=2**22 + 1))
    assert [worker.id for worker in workers.list_alive()] == ["alive"]


def test_a_heartbeat_updates_the_queues(log: Log) -> None:
    """An operator may change what a worker consumes; a worker that stops is deleted."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    workers.record_heartbeat(WORKER)
    workers.record_heartbeat(replace(WORKER, queues=("celery", "billing")))
    assert [worker.queues for worker in workers.list_alive()] == [("celery", "billing")]
    workers.unregister("w1")
    assert workers.list_alive() == []


def test_a_dead_worker_is_remembered_for_an_hour(log: Log) -> None:
    """As one that has just died for a minute; without a live worker it is all that is known."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    workers.record_heartbeat(worker(id="dead", name="dead", host="another-host"))
    log.forward(RECENTLY_DEAD_SECONDS + 1)
    assert [each.name for each in workers.list_silent()] == ["dead"]
    workers.record_heartbeat(worker(id="live", name="live", host="another-host"))
    assert workers.list_silent() == []
    assert [each.name for each in workers.list_silent(within_seconds=FORGOTTEN_AFTER_SECONDS)] == ["dead"]
    log.forward(FORGOTTEN_AFTER_SECONDS)
    workers.record_heartbeat(worker(id="live", name="live", host="another-host"))
    assert workers.list_silent(within_seconds=FORGOTTEN_AFTER_SECONDS) == []
