"""The pages about all emails together: overview, queues, workers, figures, suppressed addresses."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from mailctl import runtime
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.suppressions import SuppressionSource, explain_suppression
from mailctl.monitoring.queues import Queues
from mailctl.monitoring.snapshot import take_snapshot, take_trend
from mailctl.monitoring.workers import WorkerService
from mailctl.operations.pausing import PauseService
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import TimeStyle, format_duration, format_time
from mailctl.web.api.reports import StatsQuery, SuppressionQuery, read_stats_query, read_suppression_query
from mailctl.web.charts import Chart, Series
from mailctl.web.pages.emails import render
from mailctl.web.routing import PageRoute

if TYPE_CHECKING:
    from mailctl.monitoring.snapshot import Trend
    from mailctl.monitoring.stats import StatsReport
    from mailctl.shell_command import ShellCommand

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/overview", name="mailctl:overview")
def overview_page(request: Request) -> Response:
    """Show how things stand, and the hour before; the page keeps itself up to date."""
    overview = take_snapshot(runtime.current())
    trend = take_trend(runtime.current(), now=overview.at)
    return render(request, "overview.html", overview=overview, trend=trend, charts=_trend_charts(trend))


@router.get("/queues", name="mailctl:queues")
def queues_page(request: Request) -> Response:
    """Show what waits in each queue, how fast it flows, and what stops it."""
    parts = runtime.current()
    return render(
        request,
        "queues.html",
        found=Queues(parts).list_queues(),
        can_be_paused=PauseService(parts).is_known_queue,
    )


@router.get("/workers", name="mailctl:workers")
def workers_page(request: Request) -> Response:
    """Show who sends."""
    return render(request, "workers.html", roll=WorkerService(runtime.current()).list_workers())


@router.get("/stats", name="mailctl:stats")
def stats_page(request: Request, asked: Annotated[StatsQuery, Depends(read_stats_query)]) -> Response:
    """Show figures on a span of time."""
    report = asked.report()
    return render(
        request,
        "stats.html",
        asked=asked,
        report=report,
        charts=[_report_chart(report)],
        dimensions=list(Dimension),
        command=_stats_command(asked),
    )


@router.get("/suppressions", name="mailctl:suppressions")
def suppressions_page(
    request: Request, listed: Annotated[SuppressionQuery, Depends(read_suppression_query)]
) -> Response:
    """Show the addresses that nothing is sent to."""
    page = listed.page()
    query = {"source": listed.source, "limit": str(listed.limit), "after": page.cursor or ""}
    return render(
        request,
        "suppressions.html",
        listed=listed,
        page=page,
        sources=list(SuppressionSource),
        explain=explain_suppression,
        next=urlencode(query) if page.cursor else None,
    )


def _trend_charts(trend: Trend) -> list[Chart]:
    # The last step has only begun: it would look like a fall.
    steps, unfinished = trend.steps[:-1], trend.unfinished[:-1]
    times = tuple(step.at for step in steps)
    return [
        Chart(
            title="Emails",
            unit="a minute",
            times=times,
            series=(
                _count_series("sent", times, [step.delivered for step in steps]),
                _count_series("deferred", times, [step.deferred for step in steps]),
                _count_series("failed", times, [step.failed for step in steps]),
            ),
        ),
        Chart(
            title="Latency",
            unit="seconds",
            times=times,
            series=(
                Series(name="p50", values=tuple(step.p50 for step in steps)),
                Series(name="p95", values=tuple(step.p95 for step in steps)),
                Series(name="p99", values=tuple(step.p99 for step in steps)),
            ),
        ),
        Chart(
            title="Unfinished emails",
            unit="emails",
            times=times,
            series=(Series(name="unfinished", values=tuple(float(depth) for depth in unfinished)),),
        ),
    ]


def _report_chart(report: StatsReport) -> Chart:
    times = tuple(point.at for point in report.points)
    return Chart(
        title="Emails by when they were recorded",
        unit=f"in {format_duration(report.bucket)}",
        times=times,
        series=(
            _count_series("recorded", times, [point.recorded for point in report.points]),
            _count_series("delivered", times, [point.delivered for point in report.points]),
            _count_series("failed", times, [point.failed for point in report.points]),
        ),
    )


def _count_series(name: str, times: tuple[datetime, ...], counts: list[int]) -> Series:
    total, most = sum(counts), max(counts, default=0)
    told = "none"
    if total:
        told = f"{total}, at most {most} at {format_time(times[counts.index(most)], TimeStyle.LABEL_CLOCK)}"
    return Series(name=name, values=tuple(float(count) for count in counts), summary=told)


def _stats_command(asked: StatsQuery) -> ShellCommand:
    return mailctl_command("stats", since=asked.since, until=asked.until, by=asked.by)
