"""The pages about all emails together: overview, queues, workers, statistics, suppressed addresses."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailctl import runtime
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.errors import InvalidInput
from mailctl.monitoring.queues import Queues
from mailctl.monitoring.workers import WorkerService
from mailctl.operations.pausing import PauseService
from mailctl.timefmt import TimeStyle, format_duration, format_time
from mailctl.web.charts import Chart, Series
from mailctl.web.overview_figures import overview_figures
from mailctl.web.report_queries import (
    UNSUBSCRIBED,
    StatsQuery,
    SuppressionQuery,
    read_stats_query,
    read_suppression_query,
)
from mailctl.web.routing import PageRoute
from mailctl.web.templating import path_to, render

if TYPE_CHECKING:
    from mailctl.monitoring.snapshot import Trend
    from mailctl.monitoring.stats import StatsReport

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/", name="mailctl:home")
def home(request: Request) -> Response:
    """Redirect to the overview."""
    return RedirectResponse(path_to(request, "overview"), 303)


@router.get("/overview", name="mailctl:overview")
def overview_page(request: Request) -> Response:
    """Show the current state and the last hour; the page refreshes itself."""
    figures = overview_figures(runtime.current())
    return render(
        request,
        "overview.html",
        figures=figures,
        snapshot=figures.snapshot,
        trend=figures.trend,
        charts=trend_charts(figures.trend),
    )


@router.get("/queues", name="mailctl:queues")
def queues_page(request: Request) -> Response:
    """Show the queues with their depth, their rates and their pauses."""
    parts = runtime.current()
    return render(
        request,
        "queues.html",
        queue_list=Queues(parts).list_queues(),
        can_be_paused=PauseService(parts).is_known_queue,
    )


@router.get("/workers", name="mailctl:workers")
def workers_page(request: Request) -> Response:
    """Show the live workers."""
    return render(request, "workers.html", worker_list=WorkerService(runtime.current()).list_workers())


@router.get("/stats", name="mailctl:stats")
def stats_page(request: Request, query: Annotated[StatsQuery, Depends(read_stats_query)]) -> Response:
    """Show the statistics of a period."""
    try:
        report, error = query.report(), None
    except InvalidInput as invalid:
        # The form stays, with the default period.
        report, error = StatsQuery(by=query.by, limit=query.limit).report(), invalid
    return render(
        request,
        "stats.html",
        status_code=422 if error else 200,
        query=query,
        report=report,
        error=error,
        charts=[report_chart(report)],
        dimensions=list(Dimension),
    )


@router.get("/suppressions", name="mailctl:suppressions")
def suppressions_page(
    request: Request, query: Annotated[SuppressionQuery, Depends(read_suppression_query)]
) -> Response:
    """Show the suppressed addresses, or the recipients who have unsubscribed."""
    is_unsubscribed = query.source == UNSUBSCRIBED
    page = query.unsubscribes() if is_unsubscribed else query.page()
    next_page = {"source": query.source, "limit": str(query.limit), "after": page.cursor or ""}
    return render(
        request,
        "suppressions.html",
        query=query,
        page=page,
        is_unsubscribed=is_unsubscribed,
        sources=[*SuppressionSource, UNSUBSCRIBED],
        next_page=urlencode(next_page) if page.cursor else None,
    )


def trend_charts(trend: Trend) -> list[Chart]:
    """Return the charts of the last hour."""
    # The last step has only just begun: it would look like a drop.
    steps, unfinished = trend.steps[:-1], trend.unfinished[:-1]
    times = tuple(step.at for step in steps)
    return [
        Chart(
            title="Emails",
            unit="per minute",
            times=times,
            series=(
                _count_series("sent", times, [step.sent for step in steps]),
                _count_series("deferred", times, [step.deferred for step in steps]),
                _count_series("failed", times, [step.failed for step in steps]),
                *_captured_series(times, [step.captured for step in steps]),
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
            unit="at the end of each minute",
            times=times,
            series=(Series(name="unfinished", values=tuple(float(count) for count in unfinished)),),
        ),
    ]


def report_chart(report: StatsReport) -> Chart:
    """Return the chart of the emails of a period."""
    times = tuple(point.at for point in report.points)
    return Chart(
        title="Emails by the time when they were recorded",
        unit=f"per {format_duration(report.bucket)}",
        times=times,
        series=(
            _count_series("recorded", times, [point.recorded for point in report.points]),
            _count_series("sent", times, [point.sent for point in report.points]),
            _count_series("failed", times, [point.failed for point in report.points]),
            *_captured_series(times, [point.captured for point in report.points]),
        ),
    )


def _captured_series(times: tuple[datetime, ...], counts: list[int]) -> tuple[Series, ...]:
    """Return the series of captured emails; none where there are none, as in production."""
    return (_count_series("captured", times, counts),) if any(counts) else ()


def _count_series(name: str, times: tuple[datetime, ...], counts: list[int]) -> Series:
    total, maximum, summary = sum(counts), max(counts, default=0), "none"
    if total:
        time = format_time(times[counts.index(maximum)], TimeStyle.LABEL_CLOCK)
        summary = f"{total}, at most {maximum} at {time}"
    return Series(name=name, values=tuple(float(count) for count in counts), summary=summary)
