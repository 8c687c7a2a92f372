"""Every answer of the dashboard, its errors too: guarded, and with headers that keep browsers in check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from typing_extensions import override

from mailctl.errors import MailctlError
from mailctl.web.problem import AccessDenied, problem_response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request
    from starlette.responses import Response

#: Nothing but what comes from here; no script and no style inside a page.
PAGE_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: For the HTML of an email: nothing runs, nothing is asked of anybody, and only our pages may frame it.
EMAIL_CSP = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # A form without an origin could not be told from another site's.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_EXPECTED_ERRORS = (MailctlError, RequestValidationError, HTTPException)


def add_security_headers(response: Response) -> Response:
    """Add the headers that the answer does not have already."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class ApiRoute(APIRoute):
    """An endpoint for programs: what goes wrong is a problem document."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return add_security_headers(await answer(request))
            except _EXPECTED_ERRORS as error:
                return add_security_headers(self.error_response(request, error))

        return guarded

    def error_response(self, _request: Request, error: Exception, /) -> Response:
        """Return what is answered when something is wrong."""
        return problem_response(error)


class PageRoute(ApiRoute):
    """A page for people: without a session it leads to the sign-in page."""

    @override
    def error_response(self, request: Request, error: Exception, /) -> Response:
        from mailctl.web.pages.emails import error_page, path_to

        if isinstance(error, AccessDenied) and error.status == 401 and request.method == "GET":
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{path_to(request, 'sign_in')}?{urlencode({'next': wanted})}", 303)
        return error_page(request, error)
