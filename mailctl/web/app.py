"""The dashboard put together: as a router for a service, and as an application of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from mailctl import runtime
from mailctl.web.api import emails as emails_api
from mailctl.web.api import reports as reports_api
from mailctl.web.auth import AccessControl
from mailctl.web.pages import emails as email_pages
from mailctl.web.pages import preview
from mailctl.web.pages import reports as report_pages
from mailctl.web.problem import problem_response
from mailctl.web.routing import ApiRoute, add_security_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from mailctl.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="A key from `mailctl keys create`.")


def make_router(access: AccessControl | None = None) -> APIRouter:
    """Return the dashboard on the delivery log of this process, for an application of one's own.

    With secret keys that protect nothing in production, it refuses every request.

    Args:
        access: who may look; None for those with a key of the log.
    """
    gate = access or AccessControl()

    # For the OpenAPI document; what it finds in the request is read again by the gate.
    def require_key(request: Request, _: Annotated[object, Depends(_bearer)]) -> None:
        runtime.require_usable_keys()
        gate.authenticate(request)

    def openapi(request: Request) -> dict[str, Any]:
        place = email_pages.path_to(request, "home").rstrip("/")
        servers = [{"url": place}] if place else None
        return get_openapi(title="mailctl", version=version("mailctl"), routes=router.routes, servers=servers)

    guarded = APIRouter(route_class=ApiRoute, dependencies=[Depends(require_key)])
    guarded.add_api_route("/api/openapi.json", openapi, include_in_schema=False)
    for endpoints in (
        emails_api.router,
        reports_api.router,
        preview.version_router,
        emails_api.fallback_router,
    ):
        guarded.include_router(endpoints)
    router = APIRouter()
    router.include_router(emails_api.public_router)
    router.include_router(
        email_pages.sign_in_router(gate), dependencies=[Depends(runtime.require_usable_keys)]
    )
    router.include_router(guarded)
    for page_router in (email_pages.router, report_pages.router, preview.router):
        router.include_router(page_router, dependencies=[Depends(require_key)])
    return router


def create_app(settings: Settings | None = None, *, access: AccessControl | None = None) -> FastAPI:
    """Return the dashboard as an application; nothing is opened before it starts.

    Args:
        settings: what it is to work with; None takes the environment.
        access: who may look; None for those with a key of the log.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        runtime.close()

    if settings is not None:
        runtime.configure(settings)
    app = FastAPI(
        title="mailctl",
        version=version("mailctl"),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(make_router(access))
    app.add_exception_handler(HTTPException, _error_handler)
    app.add_exception_handler(Exception, _error_handler)
    return app


async def _error_handler(_: Request, error: Exception) -> Response:
    """Answer what no route has answered."""
    return add_security_headers(problem_response(error))
