"""The route classes: they turn errors into responses and add the security headers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from typing_extensions import override

from mailctl.domain.shell_command import shell_quote
from mailctl.domain.unicode_safety import escape_json_controls
from mailctl.errors import InvalidInput, MailctlError
from mailctl.web.problem import AccessDenied, problem_response
from mailctl.web.templating import error_page, path_to

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi.dependencies.models import Dependant
    from starlette.routing import Match
    from starlette.types import Message, Receive, Scope, Send

#: The Content-Security-Policy of pages: resources of the dashboard only, no inline scripts and styles.
PAGE_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # `check_same_origin` needs the Origin header, which "no-referrer" would set to null.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_EXPECTED_ERRORS = (MailctlError, RequestValidationError, HTTPException)


def add_security_headers(response: Response) -> Response:
    """Add the security headers that a response does not have yet."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def escape_json(response: Response) -> Response:
    """Escape the control characters in JSON, which would control the terminal of its reader."""
    if "json" in (response.media_type or response.headers.get("content-type", "")):
        response.body = escape_json_controls(bytes(response.body).decode()).encode()
        response.headers["content-length"] = str(len(response.body))
    return response


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not have: a filter with a typo would filter nothing.

    Raises:
        InvalidInput: there is one.
    """
    route = request.scope.get("route")
    known = _query_parameters(route.dependant) if isinstance(route, APIRoute) else frozenset[str]()
    for name in request.query_params:
        if name not in known:
            raise InvalidInput(
                shell_quote(name),
                "is not a parameter of this address.",
                fix=f"Use {', '.join(sorted(known))}." if known else "Leave it out.",
            )


def _query_parameters(dependant: Dependant) -> frozenset[str]:
    own = frozenset(field.alias for field in dependant.query_params)
    return own.union(*map(_query_parameters, dependant.dependencies))


def redirect_without_slash(request: Request) -> Response:
    """Redirect from a path with a slash too many, by a path without a host: a request could forge that."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(request.url.path.rstrip("/") + query, 303)


def _is_head(scope: Scope) -> bool:
    return bool(scope.get("method") == "HEAD")


def _as_get(scope: Scope) -> Scope:
    return {**scope, "method": "GET"} if _is_head(scope) else scope


def _without_body(send: Send) -> Send:
    """Return a function that sends a response without its body."""

    async def send_head(message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        await send({**message, "body": b""} if is_body else message)

    return send_head


async def answer(
    request: Request,
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
    error_response: Callable[[Exception], Response],
) -> Response:
    """Return the response to a request, with the security headers; an error becomes a response, too."""
    try:
        response = await handle(request)
    except _EXPECTED_ERRORS as error:
        response = error_response(error)
    return add_security_headers(escape_json(response))


class ApiRoute(APIRoute):
    """A route of the JSON API: an error becomes a problem document. Whatever answers GET answers HEAD."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(_as_get(scope))

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(_as_get(scope), receive, _without_body(send) if _is_head(scope) else send)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            return await answer(request, handle, partial(self.error_response, request))

        return handle_errors

    def error_response(self, _request: Request, error: Exception, /) -> Response:
        """Return the response that reports an error."""
        return problem_response(error)


class PageRoute(ApiRoute):
    """A route of a page: an error becomes a page, and a missing session redirects to the sign-in page."""

    @override
    def error_response(self, request: Request, error: Exception, /) -> Response:
        if isinstance(error, AccessDenied) and error.status == 401 and request.method == "GET":
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{path_to(request, 'sign_in')}?{urlencode({'next': target})}", 303)
        return error_page(request, error)
