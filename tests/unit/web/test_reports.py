"""The charts of the overview and of the statistics."""

from __future__ import annotations

from datetime import timedelta

from mailctl.delivery_log.queries.stat_models import Dimension, Latency, StatsPoint, Totals
from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
from mailctl.monitoring.snapshot import Trend
from mailctl.monitoring.stats import StatsReport
from mailctl.web.pages.reports import report_chart, trend_charts
from tests.emails import NOW


def step(minute: int, *, delivered: int = 0) -> TimeSeriesPoint:
    """Return what happened in a minute."""
    return TimeSeriesPoint(
        at=NOW + timedelta(minutes=minute),
        recorded=delivered,
        delivered=delivered,
        deferred=0,
        failed=0,
        ended=delivered,
        p50=0.5 if delivered else None,
        p95=None,
        p99=None,
    )


def test_the_minute_that_has_just_begun_is_left_out() -> None:
    """It would look like a drop."""
    trend = Trend(
        steps=(step(0, delivered=3), step(1, delivered=5), step(2)),
        unfinished=(9, 4, 4),
        latency=Latency(count=0),
    )
    emails, latency, unfinished = trend_charts(trend)
    assert [len(each.times) for each in (emails, latency, unfinished)] == [2, 2, 2]
    assert [series.summary for series in emails.series] == ["8, at most 5 at 12:01", "none", "none"]
    assert latency.series[0].values == (0.5, 0.5)
    assert unfinished.series[0].values == (9.0, 4.0)


def test_statistics_name_their_interval() -> None:
    """One line each for what was recorded, sent and failed."""
    report = StatsReport(
        since=NOW,
        until=NOW + timedelta(hours=1),
        totals=Totals(states={}),
        latency=Latency(count=0),
        dimension=Dimension.KIND,
        groups=(),
        bucket=timedelta(minutes=5),
        points=(StatsPoint(at=NOW, recorded=2, delivered=1, failed=1),),
    )
    chart = report_chart(report)
    assert (chart.unit, [series.name for series in chart.series]) == (
        "per 5 min",
        ["recorded", "sent", "failed"],
    )
