"""The current state as JSON: for `mailctl top`, and for the dashboard."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailctl.delivery_log.circuits import Circuit
from mailctl.delivery_log.queries.queue_stats import QueueDepth
from mailctl.delivery_log.queries.stat_models import Activity, Latency
from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
from mailctl.domain.states import State
from mailctl.monitoring.incident.models import Incident, IncidentProblem, ProblemSubject
from mailctl.monitoring.snapshot import Snapshot, Trend
from mailctl.views.snapshot import OverviewView, SnapshotView
from tests.emails import NOW, email
from tests.workers import worker

WORKER = worker()
CIRCUIT = Circuit(server="smtp:587", failures=9, probes=0, reason="refused", since=NOW, probe_at=NOW)
SNAPSHOT = Snapshot(
    at=NOW,
    recent_activity=Activity(recorded=4, entered={State.SENT: 3, State.FAILED: 1}),
    queues=(
        QueueDepth(queue="celery", pending=2, waiting_since=NOW - timedelta(seconds=1.5)),
        QueueDepth(queue="idle"),
        QueueDepth(queue="other clock", waiting_since=NOW + timedelta(seconds=1)),
    ),
    workers=(WORKER,),
    failures=(email(State.FAILED, error="550"),),
    short_ids={"e1": "e1"},
    circuit=None,
)
NO_WORKER = IncidentProblem(
    subject=ProblemSubject.WORKERS, name="no_worker", sentence="No worker is alive", held_up=2
)
INCIDENT = Incident(at=NOW, problems=(NO_WORKER,))
POINT = TimeSeriesPoint(
    at=NOW, recorded=4, sent=2, captured=1, deferred=0, failed=1, ended=4, p50=0.5, p95=0.9, p99=None
)
TREND = Trend(steps=(POINT,), unfinished=(2,), latency=Latency(count=3, p50=0.5))


def test_ages_are_never_negative() -> None:
    """The clocks of two hosts may differ; a queue without due emails has no age."""
    queues = SnapshotView.of(SNAPSHOT, INCIDENT).as_json()["queues"]
    assert [queue["oldest_seconds"] for queue in queues] == [1.5, None, 0.0]


def test_both_have_the_same_figures() -> None:
    """A key means the same in both: `workers` is the list of live workers, never their number."""
    snapshot, overview = (
        SnapshotView.of(SNAPSHOT, INCIDENT).as_json(),
        OverviewView.of_trend(SNAPSHOT, INCIDENT, TREND).as_json(),
    )
    assert {name: overview[name] for name in snapshot} == snapshot
    assert [worker["pid"] for worker in overview["workers"]] == [7]
    counts = {"recorded": 4, "sent": 3, "captured": 0, "failed": 1}
    assert snapshot["per_minute"] == {**counts, "failure_rate": 0.25}


def test_what_is_wrong_comes_with_it() -> None:
    """In one line, as `mailctl incident` says it."""
    printed = SnapshotView.of(SNAPSHOT, INCIDENT).as_json()
    assert (printed["ok"], printed["headline"]) == (False, "No worker is alive (2 emails held up)")


def test_an_open_circuit_has_both_of_its_keys() -> None:
    """`mail_server` is that of the command, `circuit` that of the API."""
    printed = SnapshotView.of(replace(SNAPSHOT, circuit=CIRCUIT), INCIDENT).as_json()
    assert printed["mail_server"] == printed["circuit"] == str(CIRCUIT)
    assert SnapshotView.of(SNAPSHOT, INCIDENT).as_json()["circuit"] is None


def test_the_last_hour_has_the_unfinished_emails_of_each_minute() -> None:
    """Under the key that the API has always had."""
    [point] = OverviewView.of_trend(SNAPSHOT, INCIDENT, TREND).as_json()["time_series"]
    assert (point["at"], point["unfinished"], point["p99"]) == ("2026-03-01T12:00:00Z", 2, None)
