"""The response to requests for endpoints that do not exist."""

from __future__ import annotations

from fastapi import APIRouter

from mailctl.errors import NotFound
from mailctl.web.routing import ApiRoute

#: To be included after all other routers of the API.
router = APIRouter(route_class=ApiRoute)


@router.get("/api/{unknown:path}", include_in_schema=False)
def unknown_endpoint(unknown: str) -> None:
    """Report an unknown endpoint as a problem document, as the other endpoints report errors."""
    raise NotFound(f"There is no endpoint /api/{unknown}.", fix="See /api/openapi.json.")
