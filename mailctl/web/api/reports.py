"""The endpoints for programs about all emails together: overview, queues, workers, figures, suppressions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import PlainTextResponse, Response

from mailctl import runtime
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.errors import InvalidInput
from mailctl.monitoring.prometheus import render_metrics
from mailctl.monitoring.queues import Queues
from mailctl.monitoring.snapshot import take_snapshot, take_trend
from mailctl.monitoring.stats import make_report
from mailctl.monitoring.workers import WorkerService
from mailctl.timefmt import parse_past_time
from mailctl.web.filters import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from mailctl.web.models_reports import OverviewModel, QueuesModel, StatsModel, SuppressionsModel, WorkersModel
from mailctl.web.problem import problem_responses
from mailctl.web.routing import ApiRoute

if TYPE_CHECKING:
    from mailctl.delivery_log.suppressions import SuppressionPage
    from mailctl.monitoring.stats import StatsReport

#: How far back `/metrics` counts by kind and by speed, as `mailctl metrics` does.
METRICS_WINDOW = timedelta(hours=1)
#: Of Prometheus' text form.
_METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_GROUPS = 100

router = APIRouter(route_class=ApiRoute, responses=problem_responses())


@dataclass(frozen=True, kw_only=True)
class StatsQuery:
    """What figures were asked for, as text: empty fields are those that a form left empty."""

    since: str = "24h"
    until: str = ""
    by: Dimension = Dimension.KIND
    limit: int = 24

    def report(self) -> StatsReport:
        """Return them.

        Raises:
            InvalidInput: a time is none, or the end is before the beginning.
        """
        now = datetime.now(UTC)
        return make_report(
            runtime.current(),
            self.by,
            since=parse_past_time(self.since, field="since", now=now),
            until=parse_past_time(self.until, field="until", now=now) if self.until else now,
            limit=self.limit,
        )


def read_stats_query(
    since: Annotated[str, Query(max_length=64, description="24h, or a time (ISO 8601).")] = "24h",
    until: Annotated[str, Query(max_length=64, description="1h, or a time (ISO 8601); else now.")] = "",
    by: Dimension = Dimension.KIND,
    limit: Annotated[int, Query(ge=1, le=_MAX_GROUPS, description="Groups at most.")] = 24,
) -> StatsQuery:
    """Return what the query part of an address asks for."""
    return StatsQuery(since=since.strip() or "24h", until=until.strip(), by=by, limit=limit)


@dataclass(frozen=True, kw_only=True)
class SuppressionQuery:
    """What a list of suppressed addresses was asked for."""

    source: str = ""
    limit: int = DEFAULT_PAGE_SIZE
    after: str | None = None

    def page(self) -> SuppressionPage:
        """Return that page of it.

        Raises:
            InvalidInput: there is no such source.
        """
        if self.source and self.source not in list(SuppressionSource):
            raise InvalidInput(
                "source", f"{self.source!r} is none.", fix=f"Use one of: {', '.join(SuppressionSource)}."
            )
        return runtime.current().suppressions.page(
            limit=self.limit, after=self.after, source=SuppressionSource(self.source) if self.source else None
        )


def read_suppression_query(
    source: Annotated[str, Query(json_schema_extra={"enum": ["", *SuppressionSource]})] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    after: Annotated[
        str | None,
        Query(max_length=320, pattern=r"^[^\x00-\x1f\x7f]+$", description="`next` of the page before."),
    ] = None,
) -> SuppressionQuery:
    """Return what the query part of an address asks for."""
    return SuppressionQuery(source=source, limit=limit, after=after)


@router.get("/api/overview", name="mailctl:api_overview", tags=["figures"])
def show_overview() -> OverviewModel:
    """Tell how things stand, and the hour before, minute by minute."""
    overview = take_snapshot(runtime.current())
    return OverviewModel.of(overview, take_trend(runtime.current(), now=overview.at))


@router.get("/api/queues", name="mailctl:api_queues", tags=["workers"])
def list_queues() -> QueuesModel:
    """List the queues: what waits, how fast it flows, what stops it."""
    return QueuesModel.of(Queues(runtime.current()).list_queues())


@router.get("/api/workers", name="mailctl:api_workers", tags=["workers"])
def list_workers() -> WorkersModel:
    """List the workers that are alive: by the delivery log, and by remote control."""
    return WorkersModel.of(WorkerService(runtime.current()).list_workers())


@router.get("/api/stats", name="mailctl:api_stats", tags=["figures"])
def show_stats(asked: Annotated[StatsQuery, Depends(read_stats_query)]) -> StatsModel:
    """Count emails: what became of them, how fast, by what they have in common, and over time."""
    return StatsModel.of(asked.report())


@router.get("/api/suppressions", name="mailctl:api_suppressions", tags=["rules"])
def list_suppressions(
    listed: Annotated[SuppressionQuery, Depends(read_suppression_query)],
) -> SuppressionsModel:
    """List the addresses that nothing is sent to."""
    return SuppressionsModel.of(listed.page())


@router.get(
    "/metrics",
    name="mailctl:metrics",
    tags=["figures"],
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus' text form.", "content": {"text/plain": {}}}},
)
def show_metrics() -> Response:
    """Return the figures in Prometheus' text form, as `mailctl metrics` prints them."""
    return Response(render_metrics(runtime.current(), since=METRICS_WINDOW), media_type=_METRICS_MEDIA_TYPE)
