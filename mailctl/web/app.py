"""Assembles the dashboard: a router for an existing application, and an application of its own."""

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
from mailctl.web.api import fallback, health
from mailctl.web.api import reports as reports_api
from mailctl.web.auth import AccessControl
from mailctl.web.pages import check_config, preview
from mailctl.web.pages import emails as email_pages
from mailctl.web.pages import reports as report_pages
from mailctl.web.pages.sign_in import sign_in_router
from mailctl.web.problem import problem_response
from mailctl.web.routing import ApiRoute, add_security_headers
from mailctl.web.templating import path_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from mailctl.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="A key that `mailctl keys create` has created.")
_API_ROUTERS = (health.router, emails_api.router, reports_api.router, preview.version_router, fallback.router)
_PAGE_ROUTERS = (email_pages.router, report_pages.router, check_config.router, preview.router)


def make_router(access: AccessControl | None = None) -> APIRouter:
    """Return a router for the dashboard of this process's delivery log.

    In production, every request is refused if the secret keys are weak.

    Args:
        access: decides which requests are allowed; None accepts the API keys of the log.
    """
    access = access or AccessControl()

    # The credentials are a parameter for the OpenAPI document only; `authenticate` reads the request itself.
    def require_key(request: Request, _: Annotated[object, Depends(_bearer)]) -> None:
        runtime.require_usable_keys()
        access.authenticate(request)

    def openapi(request: Request) -> dict[str, Any]:
        prefix = path_to(request, "home").rstrip("/")
        servers = [{"url": prefix}] if prefix else None
        return get_openapi(title="mailctl", version=version("mailctl"), routes=router.routes, servers=servers)

    guarded = APIRouter(route_class=ApiRoute, dependencies=[Depends(require_key)])
    guarded.add_api_route("/api/openapi.json", openapi, include_in_schema=False)
    for api_router in _API_ROUTERS:
        guarded.include_router(api_router)
    router = APIRouter()
    router.include_router(health.public_router)
    router.include_router(sign_in_router(access), dependencies=[Depends(runtime.require_usable_keys)])
    router.include_router(guarded)
    for page_router in _PAGE_ROUTERS:
        router.include_router(page_router, dependencies=[Depends(require_key)])
    return router


def create_app(settings: Settings | None = None, *, access: AccessControl | None = None) -> FastAPI:
    """Return the dashboard as an application; the delivery log is opened by the first request.

    Args:
        settings: the settings of this process; None reads them from the environment.
        access: decides which requests are allowed; None accepts the API keys of the log.
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
    """Answer requests that match no route."""
    return add_security_headers(problem_response(error))
