"""The sign-in page, and the static files that it needs: everything that is accessible without a key."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailctl.errors import InvalidInput, NotFound
from mailctl.web.auth import AccessControl, check_same_origin
from mailctl.web.problem import AccessDenied, headers_of
from mailctl.web.routing import PageRoute
from mailctl.web.templating import path_to, render

_STATIC_FILES = {"style.css": "text/css", "page.js": "text/javascript"}
_MAX_FORM_BYTES = 4096


def sign_in_router(access: AccessControl) -> APIRouter:
    """Return the routes for signing in and out.

    Args:
        access: checks the keys, and begins and ends the sessions.
    """
    router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)

    @router.get("/login", name="mailctl:sign_in")
    def sign_in_page(request: Request, next: Annotated[str, Query(max_length=2000)] = "") -> Response:
        """Show the form that asks for a key."""
        return render(request, "sign_in.html", next=next, error="")

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        """Begin a session and redirect to the page that was requested."""
        check_same_origin(request)
        form = await _read_form(request)
        target = form.get("next", "")
        try:
            key_id = await run_in_threadpool(access.check_key, request, form.get("key", "").strip())
        except AccessDenied as error:
            page = render(request, "sign_in.html", status_code=error.status, next=target, error=error.message)
            page.headers.update(headers_of(error))
            return page
        response = RedirectResponse(_safe_redirect_path(request, target), 303)
        home = path_to(request, "home")
        await run_in_threadpool(access.begin_session, request, response, key_id, path=home)
        return response

    @router.post("/logout", name="mailctl:sign_out")
    async def sign_out(request: Request) -> Response:
        """End the session."""
        check_same_origin(request)
        response = RedirectResponse(path_to(request, "sign_in"), 303)
        await run_in_threadpool(access.end_session, request, response, path=path_to(request, "home"))
        return response

    return router


def static_router() -> APIRouter:
    """Return the route of the static files, which the sign-in page needs as well."""
    router = APIRouter(route_class=PageRoute, include_in_schema=False)

    @router.get("/static/{name}", name="mailctl:static")
    def static_file(name: str) -> Response:
        """Return a static file of the pages."""
        if name not in _STATIC_FILES:
            raise NotFound(f"There is no file {name}.")
        body = files("mailctl.web").joinpath("static", name).read_bytes()
        return Response(body, media_type=_STATIC_FILES[name])

    return router


async def _read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        InvalidInput: the form is too large.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise InvalidInput("form", f"is larger than {_MAX_FORM_BYTES} bytes.")
    return {name: values[-1] for name, values in parse_qs(body.decode("ascii", "replace")).items()}


def _safe_redirect_path(request: Request, path: str) -> str:
    """Return the path if it is a path of the dashboard, or else its home: never another site."""
    home = path_to(request, "home")
    is_own = path.startswith(home) and not path.startswith("//") and "\\" not in path
    return path if is_own and path.isprintable() else home
