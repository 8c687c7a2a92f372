"""The endpoints for programs: the same data as the pages, as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from mailctl import runtime
from mailctl.errors import NotFound
from mailctl.log.search import search
from mailctl.status import Inquiry
from mailctl.web.filters import Search, read_search
from mailctl.web.models import EmailsModel, HealthModel, StatusModel, WorkerModel, WorkersModel
from mailctl.web.problem import MEDIA_TYPE, Problem
from mailctl.web.route import ApiRoute

#: An id, or a unique start of one.
TaskId = Annotated[str, Path(min_length=1, max_length=155, pattern=r"^[^\x00-\x1f\x7f]+$")]
_ERRORS = {
    401: "No key, a wrong one, or a revoked one.",
    422: "A value cannot be used.",
    429: "Too many wrong keys from this address.",
    503: "A service that is needed cannot be reached.",
}


def _responses(*, also: dict[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    texts = _ERRORS | (also or {})
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": text, "model": Problem, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, text in texts.items()
    }


open_router = APIRouter(route_class=ApiRoute, tags=["health"])
router = APIRouter(route_class=ApiRoute, responses=_responses())


@open_router.get("/healthz", name="mailctl:healthz")
async def healthz() -> HealthModel:
    """Tell that this process answers; nothing else is asked."""
    return HealthModel(status="ok")


@router.get("/readyz", name="mailctl:readyz", tags=["health"])
def readyz() -> HealthModel:
    """Tell whether the delivery log can be read."""
    runtime.current().history.find("readyz", limit=1)
    return HealthModel(status="ready")


@router.get("/api/emails", name="mailctl:api_emails", tags=["emails"])
def list_emails(wanted: Annotated[Search, Depends(read_search)]) -> EmailsModel:
    """Find emails; the newest come first."""
    engine = runtime.current().engine
    page = search(
        engine, wanted.filter(), limit=wanted.limit, after=wanted.after, oldest_first=wanted.oldest_first
    )
    return EmailsModel.of(page)


@router.get(
    "/api/emails/{task_id}",
    name="mailctl:api_email",
    tags=["emails"],
    responses=_responses(also={404: "Nobody knows it."}),
)
def show_email(task_id: TaskId) -> StatusModel:
    """Tell what became of an email, and why; a unique start of its id is enough."""
    return StatusModel.of(Inquiry(runtime.current()).status(task_id))


@router.get("/api/workers", name="mailctl:api_workers", tags=["workers"])
def list_workers() -> WorkersModel:
    """List the workers that share the delivery log and are alive."""
    return WorkersModel(workers=[WorkerModel.of(each) for each in runtime.current().workers.alive()])


@router.get("/api/{unknown:path}", include_in_schema=False)
def nothing_there(unknown: str) -> None:
    """Answer in the manner of the others."""
    raise NotFound(f"There is nothing at /api/{unknown}.", fix="See /api/openapi.json.")
