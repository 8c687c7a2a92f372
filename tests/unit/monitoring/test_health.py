"""The hops of `health`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import ExitCode, LogUnavailable
from mailctl.monitoring.health import CanaryOptions, check_health
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


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
