"""Assembles the dashboard: a router for an existing application, and an application of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
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
from mailctl.web.pages.sign_in import sign_in_router, static_router
from mailctl.web.problem import problem_response
from mailctl.web.routing import (
    ApiRoute,
    PageRoute,
    add_security_headers,
    escape_json,
    redirect_without_slash,
    refuse_unknown_parameters,
)
from mailctl.web.templating import SIGN_IN_STATE, error_page, path_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.responses import Response

    from mailctl.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="A key that `mailctl keys create` has created.")
_API_ROUTERS = (health.router, emails_api.router, reports_api.router, preview.version_router, fallback.router)
_PAGE_ROUTERS = (email_pages.router, report_pages.router, check_config.router, preview.router)


def make_router(
    access: AccessControl | None = None, *, authorize: Any = None, include_in_schema: bool = False
) -> APIRouter:
    """Return a router for the dashboard of this process's delivery log.

    In production, every request is refused if the secret keys are weak.

    Args:
        access: decides which requests are allowed; None accepts the API keys of the log.
        authorize: a dependency of the service, such as `Depends(require_staff)`, that decides instead. It
            raises an `HTTPException` for a request that is not allowed. There is no sign-in page then.
        include_in_schema: whether the JSON API is a part of the application's OpenAPI document. It always has
            a document of its own, at `api/openapi.json`.
    """
    access = access or AccessControl()

    # The credentials are a parameter for the OpenAPI document only; `authenticate` reads the request itself.
    def require_key(request: Request, _: Annotated[object, Depends(_bearer)]) -> None:
        runtime.require_usable_keys()
        access.authenticate(request)

    def openapi(request: Request) -> dict[str, Any]:
        prefix = path_to(request, "home").rstrip("/")
        servers = [{"url": prefix}] if prefix else None
        return get_openapi(title="mailctl", version=version("mailctl"), routes=api.routes, servers=servers)

    def check_host(request: Request) -> None:
        setattr(request.state, SIGN_IN_STATE, authorize is None)
        access.check_host(request)

    open_guards = [Depends(check_host), Depends(runtime.require_usable_keys)]
    allowed = [Depends(require_key)] if authorize is None else [*open_guards, authorize]
    guards = [Depends(check_host), *allowed, Depends(refuse_unknown_parameters)]
    api = _api_router(guards, openapi)
    router = APIRouter()
    router.include_router(static_router(), dependencies=open_guards)
    if authorize is None:
        router.include_router(sign_in_router(access), dependencies=open_guards)
    router.include_router(_slash_router(has_sign_in=authorize is None), dependencies=[Depends(check_host)])
    router.include_router(api, include_in_schema=include_in_schema)
    for page_router in _PAGE_ROUTERS:
        router.include_router(page_router, dependencies=guards)
    return router


def _api_router(guards: Sequence[Any], openapi: Callable[[Request], dict[str, Any]]) -> APIRouter:
    """Return the JSON API with its own OpenAPI document; all but the liveness probe are guarded."""
    guarded = APIRouter(route_class=ApiRoute, dependencies=guards)
    guarded.add_api_route("/api/openapi.json", openapi, include_in_schema=False)
    for api_router in _API_ROUTERS:
        guarded.include_router(api_router)
    router = APIRouter()
    router.include_router(health.public_router)
    router.include_router(guarded)
    return router


def _slash_router(*, has_sign_in: bool) -> APIRouter:
    """Return the redirects from the paths of pages and endpoints with a slash at their end.

    Without them, the application would redirect, to the host that the request names and without our headers.
    """
    router = APIRouter(route_class=PageRoute)
    routes = [route for each in (*_API_ROUTERS, *_PAGE_ROUTERS) for route in each.routes]
    paths = {route.path for route in routes if isinstance(route, APIRoute)}
    more = {"/healthz", "/api/openapi.json", *(["/login"] if has_sign_in else [])}
    for path in sorted(paths | more):
        if not path.endswith(("/", ":path}")):
            router.add_api_route(f"{path}/", redirect_without_slash, include_in_schema=False)
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
    app.router.redirect_slashes = False
    app.include_router(make_router(access))
    app.add_exception_handler(HTTPException, _error_handler)
    app.add_exception_handler(Exception, _error_handler)
    return app


async def _error_handler(request: Request, error: Exception) -> Response:
    """Answer requests that match no route: a browser gets a page, a program a problem document."""
    if "text/html" in request.headers.get("accept", ""):
        return add_security_headers(error_page(request, error))
    return add_security_headers(escape_json(problem_response(error)))
