"""The endpoints about all emails together: overview, queues, workers, statistics, suppressions, metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from mailctl import runtime
from mailctl.monitoring.prometheus import render_metrics
from mailctl.monitoring.queues import Queues
from mailctl.monitoring.workers import WorkerService
from mailctl.views.queues import QueueListView
from mailctl.views.snapshot import OverviewView
from mailctl.views.stats import StatsView
from mailctl.views.suppressions import SuppressionPageView, UnsubscribePageView
from mailctl.views.workers import WorkerListView
from mailctl.web.overview_figures import overview_figures
from mailctl.web.problem import problem_responses
from mailctl.web.report_queries import (
    StatsQuery,
    SuppressionQuery,
    read_stats_query,
    read_suppression_query,
    read_unsubscribe_query,
)
from mailctl.web.routing import ApiRoute

#: The period of the counts by kind and of the latencies in `/metrics`, as in `mailctl metrics`.
METRICS_WINDOW = timedelta(hours=1)
#: The media type of the Prometheus text format.
_METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(route_class=ApiRoute, responses=problem_responses())


@router.get("/api/overview", name="mailctl:api_overview", tags=["figures"])
def show_overview() -> OverviewView:
    """Return the current state and the last hour, minute by minute."""
    figures = overview_figures(runtime.current())
    return OverviewView.of_trend(figures.snapshot, figures.incident, figures.trend)


@router.get("/api/queues", name="mailctl:api_queues", tags=["workers"])
def list_queues() -> QueueListView:
    """List the queues with their depth, their rates, and whether they are paused."""
    return QueueListView.of(Queues(runtime.current()).list_queues())


@router.get("/api/workers", name="mailctl:api_workers", tags=["workers"])
def list_workers() -> WorkerListView:
    """List the live workers, according to the delivery log and to remote control."""
    return WorkerListView.of(WorkerService(runtime.current()).list_workers())


@router.get("/api/stats", name="mailctl:api_stats", tags=["figures"])
def show_stats(query: Annotated[StatsQuery, Depends(read_stats_query)]) -> StatsView:
    """Return counts and latencies of the emails of a period, by group and over time."""
    return StatsView.of(query.report())


@router.get("/api/suppressions", name="mailctl:api_suppressions", tags=["rules"])
def list_suppressions(
    query: Annotated[SuppressionQuery, Depends(read_suppression_query)],
) -> SuppressionPageView:
    """List the suppressed addresses."""
    return SuppressionPageView.of(query.page())


@router.get("/api/unsubscribes", name="mailctl:api_unsubscribes", tags=["rules"])
def list_unsubscribes(
    query: Annotated[SuppressionQuery, Depends(read_unsubscribe_query)],
) -> UnsubscribePageView:
    """List the recipients who have unsubscribed from a kind."""
    return UnsubscribePageView.of(query.unsubscribes())


@router.get(
    "/metrics",
    name="mailctl:metrics",
    tags=["figures"],
    response_class=PlainTextResponse,
    responses={200: {"description": "The Prometheus text format.", "content": {"text/plain": {}}}},
)
def show_metrics() -> Response:
    """Return the metrics in the Prometheus text format, as `mailctl metrics` prints them."""
    return Response(render_metrics(runtime.current(), since=METRICS_WINDOW), media_type=_METRICS_MEDIA_TYPE)
