"""The hops of `health`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.heartbeats import Worker
from mailctl.errors import ConfigurationError, ExitCode, LogMissing, LogUnavailable
from mailctl.monitoring.health import CanaryOptions, check_health
from mailctl.runtime import Runtime, open_without_log
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


def never() -> Runtime:
    """Stand for components that are not needed."""
    raise AssertionError("asked for components without a log")


def without_log(**changes: Any) -> Runtime:
    """Return the components of a process that has no log."""
    return open_without_log(Settings(**changes))


def test_without_a_log_the_other_hops_are_checked() -> None:
    """The first hop has the error, its fix and its exit code; no canary is sent."""

    def open_runtime() -> Runtime:
        raise LogUnavailable("The delivery log cannot be read.", fix="Start it.")

    options = CanaryOptions(to=None, queue=None, timeout_seconds=1)
    hop, *others = check_health(open_runtime, open_without_log=without_log, canary=options)
    assert (hop.name, hop.ok, hop.exit_code) == ("log", False, ExitCode.UNAVAILABLE)
    assert (hop.detail, hop.fix) == ("The delivery log cannot be read.", "Start it.")
    assert [(each.name, each.ok) for each in others] == [
        *(("broker", True), ("mail-server", True)),
        ("canary", True),
    ]
    assert others[-1].detail == "not sent, because a check before it failed"


def test_a_missing_log_that_cannot_be_created_is_told_so(tmp_path: Path) -> None:
    """The fix is not to send an email, which would fail."""
    (tmp_path / "file").write_text("")

    def open_runtime() -> Runtime:
        raise LogMissing("There is no delivery log.", fix="The first email or worker creates it.")

    found = check_health(
        open_runtime, open_without_log=lambda: without_log(mailctl_home=tmp_path / "file" / "home")
    )
    hop = next(iter(found))
    assert (hop.ok, hop.exit_code) == (False, ExitCode.UNAVAILABLE)
    assert hop.detail.endswith(f"{tmp_path / 'file'} is not writable.")


def test_an_invalid_setting_is_no_broken_hop(tmp_path: Path) -> None:
    """No hop can be checked with it: the error is that of every other command."""
    settings = Settings(mailctl_home=tmp_path, mailctl_rate="fast")
    with pytest.raises(ConfigurationError, match="MAILCTL_RATE"):
        list(check_health(lambda: Runtime(settings), open_without_log=lambda: open_without_log(settings)))


def test_without_a_worker_the_hop_of_workers_fails(tmp_path: Path) -> None:
    """The other hops are checked nevertheless."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    hops = {hop.name: hop for hop in check_health(lambda: runtime, open_without_log=never)}
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
    hop = list(check_health(lambda: runtime, open_without_log=never, canary=options))[-1]
    runtime.close()
    assert (hop.name, hop.ok, hop.exit_code) == ("publish", False, ExitCode.NOT_FOUND)
    assert hop.detail == "There is no queue 'clery'."
    assert hop.fix == "Did you mean 'celery'?"
