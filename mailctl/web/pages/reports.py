"""The pages about all emails together: overview, queues, workers, figures, suppressed addresses."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from mailctl import runtime
from mailctl.command import mailctl
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.suppressions import Source, explain
from mailctl.monitoring.queues import Queues
from mailctl.monitoring.snapshot import take_overview, take_trend
from mailctl.monitoring.workers import Workforce
from mailctl.operations.pausing import Pausing
from mailctl.timefmt import span
from mailctl.web.api.reports import Asked, Listed, read_asked, read_listed
from mailctl.web.charts import Chart, Line
from mailctl.web.pages.emails import render
from mailctl.web.routing import PageRoute

if TYPE_CHECKING:
    from mailctl.command import Command
    from mailctl.monitoring.snapshot import Trend
    from mailctl.monitoring.stats import Report

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/overview", name="mailctl:overview")
def overview_page(request: Request) -> Response:
    """Show how things stand, and the hour before; the page keeps itself up to date."""
    overview = take_overview(runtime.current())
    trend = take_trend(runtime.current(), now=overview.at)
    return render(request, "overview.html", overview=overview, trend=trend, charts=_charts_of(trend))


@router.get("/queues", name="mailctl:queues")
def queues_page(request: Request) -> Response:
    """Show what waits in each queue, how fast it flows, and what stops it."""
    parts = runtime.current()
    return render(request, "queues.html", found=Queues(parts).overview(), can_be_paused=Pausing(parts).knows)


@router.get("/workers", name="mailctl:workers")
def workers_page(request: Request) -> Response:
    """Show who sends."""
    return render(request, "workers.html", roll=Workforce(runtime.current()).roll())


@router.get("/stats", name="mailctl:stats")
def stats_page(request: Request, asked: Annotated[Asked, Depends(read_asked)]) -> Response:
    """Show figures on a span of time."""
    report = asked.report()
    return render(
        request,
        "stats.html",
        asked=asked,
        report=report,
        charts=[_chart_of(report)],
        dimensions=list(Dimension),
        command=_stats_command(asked),
    )


@router.get("/suppressions", name="mailctl:suppressions")
def suppressions_page(request: Request, listed: Annotated[Listed, Depends(read_listed)]) -> Response:
    """Show the addresses that nothing is sent to."""
    page = listed.page()
    query = {"source": listed.source, "limit": str(listed.limit), "after": page.cursor or ""}
    return render(
        request,
        "suppressions.html",
        listed=listed,
        page=page,
        sources=list(Source),
        explain=explain,
        next=urlencode(query) if page.cursor else None,
    )


def _charts_of(trend: Trend) -> list[Chart]:
    # The last step has only begun: it would look like a fall.
    steps, unfinished = trend.steps[:-1], trend.unfinished[:-1]
    times = tuple(step.at for step in steps)
    return [
        Chart(
            title="Emails",
            unit="a minute",
            times=times,
            lines=(
                _counted("sent", times, [step.delivered for step in steps]),
                _counted("deferred", times, [step.deferred for step in steps]),
                _counted("failed", times, [step.failed for step in steps]),
            ),
        ),
        Chart(
            title="Latency",
            unit="seconds",
            times=times,
            lines=(
                Line(name="p50", values=tuple(step.p50 for step in steps)),
                Line(name="p95", values=tuple(step.p95 for step in steps)),
                Line(name="p99", values=tuple(step.p99 for step in steps)),
            ),
        ),
        Chart(
            title="Queue depth",
            unit="emails not finished",
            times=times,
            lines=(Line(name="unfinished", values=tuple(float(depth) for depth in unfinished)),),
        ),
    ]


def _chart_of(report: Report) -> Chart:
    times = tuple(point.at for point in report.points)
    return Chart(
        title="Emails by when they were recorded",
        unit=f"in {span(report.bucket)}",
        times=times,
        lines=(
            _counted("recorded", times, [point.recorded for point in report.points]),
            _counted("delivered", times, [point.delivered for point in report.points]),
            _counted("failed", times, [point.failed for point in report.points]),
        ),
    )


def _counted(name: str, times: tuple[datetime, ...], counts: list[int]) -> Line:
    total, most = sum(counts), max(counts, default=0)
    told = f"{total}, at most {most} at {times[counts.index(most)]:%H:%M}" if total else "none"
    return Line(name=name, values=tuple(float(count) for count in counts), told=told)


def _stats_command(asked: Asked) -> Command:
    return mailctl("stats", since=asked.since, until=asked.until, by=asked.by)
