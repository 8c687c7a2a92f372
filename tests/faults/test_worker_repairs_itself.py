"""Something within a worker fails: it is restarted, a few times; then the worker ends for its supervisor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.site import PATIENCE

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("site", ["sqlite"], indirect=True),
]

#: The app of a service whose code takes the prefetch slots of its worker, and never gives them back.
GREEDY_APP = """
from celery import Celery, bootsteps
from mailctl.settings import Settings

app = Celery("greedy", broker=Settings.load().broker_url)
app.conf.worker_prefetch_multiplier = 1


class Greed(bootsteps.StartStopStep):
    requires = ("mailctl.worker.consumer_guards:MessageGuardStep",)
    connections = 0

    def start(self, consumer):
        Greed.connections += 1
        if Greed.connections <= TIMES:
            qos = consumer.task_consumer.channel.qos
            qos._delivered.update(dict.fromkeys(map(str, range(100))))


app.steps["consumer"].add(Greed)
"""


def _greedy(site: Site, *, times: int) -> tuple[str, ...]:
    (site.terminal.folder / "greedy.py").write_text(GREEDY_APP.replace("TIMES", str(times)))
    return ("--app", "greedy:app", "-c", "1")


def test_the_consumer_takes_nothing(site: Site, check: Checker) -> None:
    """Its slots are leaked: it is restarted, and says so."""
    worker = site.start_worker(*_greedy(site, times=1))
    site.enqueue(10)
    site.repaired()
    check()
    assert (
        "10 messages in queue 'celery' and a process free, but the consumer took none for 15 s"
        in worker.output
    )
    assert worker.process.poll() is None


def test_the_consumer_takes_nothing_whatever_is_done(site: Site, is_long: bool) -> None:
    """After three restarts the worker exits 1; another one sends the emails."""
    if not is_long:
        pytest.skip("takes more than a minute")
    worker = site.start_worker(*_greedy(site, times=9))
    site.enqueue(10)
    assert worker.wait() == 1
    assert "this worker stops with exit code 1" in worker.output


def _damage(site: Site, started_at: str) -> None:
    """Write into the row of the worker when it started."""
    file = site.terminal.folder / ".mailctl" / "mailctl.db"
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as connection, connection:
        connection.execute("UPDATE mailctl_workers SET started_at = ?", [started_at])


def test_an_error_that_nobody_expected_ends_the_relay(site: Site, check: Checker) -> None:
    """It is restarted, and goes on once the cause is gone."""
    worker = site.start_worker("-c", "1")
    site.enqueue(1)
    site.wait_until_finished(1)
    _damage(site, "no time")
    worker.wait_until_printed("the relay failed (ValueError")
    _damage(site, "2026-01-01 00:00:00.000000")
    site.enqueue(10, publishes=False)
    site.repaired()
    check()
    assert worker.process.poll() is None


def test_the_relay_fails_whatever_is_done(site: Site) -> None:
    """After three restarts the worker exits 1, and says why."""
    worker = site.start_worker("-c", "1")
    site.enqueue(1)
    site.wait_until_finished(1)
    _damage(site, "no time")
    assert worker.wait() == 1
    assert worker.output.count("restarting it") == 3
    assert "this worker stops with exit code 1: the relay failed (ValueError" in worker.output
