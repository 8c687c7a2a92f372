"""The charts of the overview and of the statistics."""

from __future__ import annotations

from datetime import timedelta

from mailctl.delivery_log.queries.stat_models import Dimension, Latency, StatsPoint, Totals
from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
from mailctl.monitoring.snapshot import Trend
from mailctl.monitoring.stats import StatsReport
from mailctl.web.pages.reports import report_chart, trend_charts
from tests.emails import NOW


def step(minute: int, *, sent: int = 0, captured: int = 0) -> TimeSeriesPoint:
    """Return what happened in a minute."""
    return TimeSeriesPoint(
        at=NOW + timedelta(minutes=minute),
        recorded=sent + captured,
        sent=sent,
        captured=captured,
        deferred=0,
        failed=0,
        ended=sent + captured,
        p50=0.5 if sent else None,
        p95=None,
        p99=None,
    )


def test_the_minute_that_has_just_begun_is_left_out() -> None:
    """It would look like a drop."""
    trend = Trend(
        steps=(step(0, sent=3), step(1, sent=5), step(2)),
        unfinished=(9, 4, 4),
        latency=Latency(count=0),
    )
    emails, latency, unfinished = trend_charts(trend)
    assert [len(each.times) for each in (emails, latency, unfinished)] == [2, 2, 2]
    assert [series.summary for series in emails.series] == ["8, at most 5 at 12:01", "none", "none"]
    assert latency.series[0].values == (0.5, 0.5)
    assert unfinished.series[0].values == (9.0, 4.0)


def test_captured_emails_are_not_counted_as_sent() -> None:
    """They have a line of their own, which production does not need."""
    trend = Trend(steps=(step(0, sent=3, captured=2), step(1)), unfinished=(0, 0), latency=Latency(count=0))
    emails, *_ = trend_charts(trend)
    assert [(series.name, series.values) for series in emails.series if sum(series.values)] == [  # type: ignore[type-var]
        ("sent", (3.0,)),
        ("captured", (2.0,)),
    ]


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
        points=(StatsPoint(at=NOW, recorded=2, sent=1, captured=0, failed=1),),
    )
    chart = report_chart(report)
    assert (chart.unit, [series.name for series in chart.series]) == (
        "per 5 min",
        ["recorded", "sent", "failed"],
    )
