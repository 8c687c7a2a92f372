"""Health checks, thresholds and findings as JSON."""

from __future__ import annotations

from mailctl.checks.finding import CheckGroup
from mailctl.errors import ExitCode
from mailctl.monitoring.health import Hop
from mailctl.monitoring.thresholds import ThresholdCheck
from mailctl.settings import Profile
from mailctl.views.checks import CheckReportView
from mailctl.views.health import HealthView, MonitorView

LOG = Hop(name="log", ok=True, detail="answers", seconds=0.01)
BROKER = Hop(name="broker", ok=False, detail="refuses", fix="start it", exit_code=ExitCode.UNAVAILABLE)
WORKERS = Hop(name="workers", ok=False, detail="none")


def test_the_stage_is_the_first_hop_that_failed() -> None:
    """The later ones depend on it; the exit code is for the shell alone."""
    printed = HealthView.of([LOG, BROKER, WORKERS]).as_json()
    assert (printed["ok"], printed["stage"]) == (False, "broker")
    assert printed["hops"][1] == {
        "name": "broker",
        "ok": False,
        "detail": "refuses",
        "fix": "start it",
        "seconds": None,
    }
    assert HealthView.of([LOG]).as_json()["stage"] is None


def test_one_threshold_that_is_not_met_is_enough() -> None:
    """A check without data has no value."""
    met = ThresholdCheck(name="depth", value=None, limit=10, ok=True, reason="no emails")
    missed = ThresholdCheck(name="workers", value=0, limit=1, ok=False, reason="no worker")
    assert [MonitorView.of(checks).ok for checks in ([met], [met, missed])] == [True, False]
    assert MonitorView.of([met]).as_json()["checks"][0]["value"] is None


def test_a_warning_is_not_a_failure() -> None:
    """Only a failed check makes the report fail."""
    group = CheckGroup(name="smtp")
    warning, failure = group.warn("tls", "old", fix="update"), group.fail("login", "refused", fix="see")
    reports = [
        CheckReportView.of(findings, profile=Profile.PRODUCTION)
        for findings in ([warning], [warning, failure])
    ]
    assert [report.ok for report in reports] == [True, False]
    assert reports[1].as_json()["checks"][0] == {
        "group": "smtp",
        "name": "tls",
        "status": "warn",
        "detail": "old",
        "fix": "update",
    }
