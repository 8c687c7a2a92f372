"""Statistics as JSON."""

from __future__ import annotations

from datetime import timedelta

from mailctl.delivery_log.queries.stat_models import Dimension, Latency, StatsGroup, StatsPoint, Totals
from mailctl.domain.states import State
from mailctl.monitoring.stats import StatsReport
from mailctl.views.stats import StatsView
from tests.emails import NOW

TOTALS = Totals(states={State.SENT: 3, State.FAILED: 1, State.UNCONFIRMED: 4, State.PENDING: 2})
COUNTS = {
    "recorded": 10,
    "sent": 3,
    "delivered": 0,
    "bounced": 0,
    "complained": 0,
    "delivered_rate": 0.0,
    "bounced_rate": 0.0,
    "complained_rate": 0.0,
    "captured": 0,
    "failed": 1,
    "unconfirmed": 4,
    "unfinished": 2,
    "failure_rate": 0.25,
    "states": {"sent": 3, "failed": 1, "unconfirmed": 4, "pending": 2},
}
REPORT = StatsReport(
    since=NOW - timedelta(hours=1),
    until=NOW,
    totals=TOTALS,
    latency=Latency(count=3, p50=0.5),
    dimension=Dimension.KIND,
    groups=(StatsGroup(name="welcome", totals=TOTALS, share=1.0),),
    bucket=timedelta(minutes=1),
    points=(StatsPoint(at=NOW, recorded=6, sent=3, captured=0, failed=1),),
)


def test_the_totals_are_there_twice() -> None:
    """At the top for the command, and in `totals` for the API; alike in every group."""
    printed = StatsView.of(REPORT).as_json()
    [group] = printed["groups"]
    for counts in (printed, group):
        assert counts.items() >= COUNTS.items()
        assert counts["totals"] == COUNTS
    assert (group["name"], group["share"]) == ("welcome", 1.0)


def test_latencies_and_points_follow() -> None:
    """Percentiles that are not known are null."""
    printed = StatsView.of(REPORT).as_json()
    assert printed["latency"] == {"count": 3, "p50": 0.5, "p95": None, "p99": None, "longest": None}
    assert (printed["by"], printed["bucket_seconds"]) == ("kind", 60)
    counts = {"recorded": 6, "sent": 3, "captured": 0, "failed": 1}
    assert printed["points"] == [{"at": "2026-03-01T12:00:00Z", **counts}]
