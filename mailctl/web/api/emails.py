"""The endpoints for programs: the same data as the pages, as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from mailctl import runtime
from mailctl.delivery_log.queries.search import search
from mailctl.diagnosis.status import StatusService
from mailctl.errors import NotFound
from mailctl.web.filters import EmailQuery, read_email_query
from mailctl.web.models import DiagnosisModel, EmailsModel, HealthModel, StatusModel
from mailctl.web.problem import problem_responses
from mailctl.web.routing import ApiRoute

#: An id, or a unique start of one.
TaskId = Annotated[str, Path(min_length=1, max_length=155, pattern=r"^[^\x00-\x1f\x7f]+$")]
public_router = APIRouter(route_class=ApiRoute, tags=["health"])
router = APIRouter(route_class=ApiRoute, responses=problem_responses())
#: Takes what no other has taken.
fallback_router = APIRouter(route_class=ApiRoute)


@public_router.get("/healthz", name="mailctl:healthz")
async def healthz() -> HealthModel:
    """Tell that this process answers; nothing else is asked."""
    return HealthModel(status="ok")


@router.get("/readyz", name="mailctl:readyz", tags=["health"])
def readyz() -> HealthModel:
    """Tell whether the delivery log can be read."""
    runtime.current().history.find("readyz", limit=1)
    return HealthModel(status="ready")


@router.get("/api/emails", name="mailctl:api_emails", tags=["emails"])
def list_emails(wanted: Annotated[EmailQuery, Depends(read_email_query)]) -> EmailsModel:
    """Find emails; the newest come first."""
    engine = runtime.current().engine
    page = search(
        engine, wanted.to_filter(), limit=wanted.limit, after=wanted.after, oldest_first=wanted.oldest_first
    )
    return EmailsModel.of(page)


@router.get(
    "/api/emails/{task_id}",
    name="mailctl:api_email",
    tags=["emails"],
    responses=problem_responses(also={404: "Nobody knows it."}),
)
def show_email(task_id: TaskId) -> StatusModel:
    """Tell what became of an email, and why; a unique start of its id is enough."""
    return StatusModel.of(StatusService(runtime.current()).status(task_id))


@router.get(
    "/api/emails/{task_id}/why",
    name="mailctl:api_why",
    tags=["emails"],
    responses=problem_responses(also={404: "Nobody knows it."}),
)
def explain_email(task_id: TaskId) -> DiagnosisModel:
    """Tell why an email is where it is, all causes, and what to do about each."""
    found = StatusService(runtime.current()).why(task_id)
    if not found.is_known:
        raise NotFound(found.causes[0].sentence, fix=str(found.causes[0].next_step or ""))
    return DiagnosisModel.of(found)


@fallback_router.get("/api/{unknown:path}", include_in_schema=False)
def unknown_endpoint(unknown: str) -> None:
    """Answer in the manner of the others."""
    raise NotFound(f"There is nothing at /api/{unknown}.", fix="See /api/openapi.json.")
