"""The hops of `health`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import Worker
from mailctl.errors import ExitCode, LogUnavailable
from mailctl.monitoring.health import CanaryOptions, check_health
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

WORKER = Worker(
    id="w1",
    name="celery@another-host",
    host="another-host",
    pid=1,
    pool="threads",
    concurrency=1,
    queues=("celery",),
    started_at=datetime.now(UTC),
    seen_at=datetime.now(UTC),
)


def test_without_a_log_no_other_hop_is_checked() -> None:
    """The first hop has the error, its fix and its exit code; no canary is sent."""

    def open_runtime() -> Runtime:
        raise LogUnavailable("The delivery log cannot be read.", fix="Start it.")

    options = CanaryOptions(to=None, queue=None, timeout_seconds=1)
    [hop] = check_health(open_runtime, canary=options)
    assert (hop.name, hop.ok, hop.exit_code) == ("log", False, ExitCode.UNAVAILABLE)
    assert (hop.detail, hop.fix) == ("The delivery log cannot be read.", "Start it.")


def test_without_a_worker_the_hop_of_workers_fails(tmp_path: Path) -> None:
    """The other hops are checked nevertheless."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    hops = {hop.name: hop for hop in check_health(lambda: runtime)}
    runtime.close()
    assert {name: hop.ok for name, hop in hops.items()} == {
        "log": True,
        "broker": True,
        "workers": False,
        "mail-server": True,
    }
    assert hops["workers"].exit_code is ExitCode.FAILED


def test_a_canary_for_an_unknown_queue_is_not_sent(tmp_path: Path) -> None:
    """No worker could take it: the hop names the known queues, with the exit code of other commands."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    runtime.workers.record_heartbeat(WORKER)
    options = CanaryOptions(to=None, queue="clery", timeout_seconds=1)
    hop = list(check_health(lambda: runtime, canary=options))[-1]
    runtime.close()
    assert (hop.name, hop.ok, hop.exit_code) == ("publish", False, ExitCode.NOT_FOUND)
    assert hop.detail == "Queue 'clery' does not exist."
    assert hop.fix == "Known queues: celery, mailctl.bulk."
