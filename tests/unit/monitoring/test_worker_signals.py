"""Which workers can be stopped by a signal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailctl.monitoring.worker_signals import find_stop_obstacle
from tests.emails import NOW
from tests.workers import worker

WORKER = worker(started_at=NOW - timedelta(hours=1))


def test_a_worker_of_this_host_with_a_fresh_heartbeat_can_be_stopped() -> None:
    """Its process id is surely its own."""
    assert find_stop_obstacle(WORKER, host="web", now=NOW) == ""


def test_a_worker_of_another_host_cannot_be_stopped() -> None:
    """The same process id belongs to another process here."""
    assert find_stop_obstacle(WORKER, host="here", now=NOW) == "it runs on host web; stop process 7 there"


def test_a_silent_worker_cannot_be_stopped() -> None:
    """Its process id may have been given to another process since."""
    silent = replace(WORKER, seen_at=NOW - timedelta(minutes=1))
    assert find_stop_obstacle(silent, host="web", now=NOW) == "no heartbeat for 60 s; check process 7"
