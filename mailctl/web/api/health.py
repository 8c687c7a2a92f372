"""The endpoints for liveness and readiness probes."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from mailctl import runtime
from mailctl.web.problem import problem_responses
from mailctl.web.routing import ApiRoute

#: Needs no key.
public_router = APIRouter(route_class=ApiRoute, tags=["health"])
router = APIRouter(route_class=ApiRoute, tags=["health"], responses=problem_responses())


class ProbeResult(BaseModel):
    """The result of a probe."""

    status: Literal["ok", "ready"]


@public_router.get("/healthz", name="mailctl:healthz")
async def healthz() -> ProbeResult:
    """Report that this process answers; no other service is contacted."""
    return ProbeResult(status="ok")


@router.get("/readyz", name="mailctl:readyz")
def readyz() -> ProbeResult:
    """Report that the delivery log can be read."""
    runtime.current().history.find("readyz", limit=1)
    return ProbeResult(status="ready")
