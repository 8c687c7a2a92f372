"""Error responses and headers of the routes."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from mailctl.errors import NotFound
from mailctl.web.email_frame import FRAME_PAGE_CSP
from mailctl.web.problem import MEDIA_TYPE, AccessDenied
from mailctl.web.routing import SECURITY_HEADERS, ApiRoute, PageRoute, add_security_headers
from tests.unit.web.requests import request

PAGE = PageRoute("/emails", lambda: None)
API = ApiRoute("/api/emails", lambda: None)
MISSING_KEY = AccessDenied(401, "A key is required.")


def test_headers_of_the_response_are_kept() -> None:
    """A page with an email has a policy of its own; all other headers are added."""
    response = add_security_headers(Response(headers={"Content-Security-Policy": FRAME_PAGE_CSP}))
    assert response.headers["content-security-policy"] == FRAME_PAGE_CSP
    others = SECURITY_HEADERS.keys() - {"Content-Security-Policy"}
    assert {name: response.headers[name] for name in others} == {
        name: SECURITY_HEADERS[name] for name in others
    }


def test_a_page_without_a_session_leads_to_the_sign_in_page() -> None:
    """And from there back, with all parameters, under the prefix of the dashboard."""
    response = PAGE.error_response(request("/emails", query="to=zoe&state=held", prefix="/ops"), MISSING_KEY)
    assert response.status_code == 303
    assert response.headers["location"] == "/ops/login?next=%2Fops%2Femails%3Fto%3Dzoe%26state%3Dheld"


@pytest.mark.parametrize(
    ("method", "error", "status"),
    [("POST", MISSING_KEY, 401), ("GET", AccessDenied(403, "no"), 403), ("GET", NotFound("no"), 404)],
)
def test_other_errors_are_pages(method: str, error: Exception, status: int) -> None:
    """Signing in would not help."""
    response = PAGE.error_response(request(method=method), error)
    assert (response.status_code, response.media_type) == (status, "text/html")


def test_programs_get_a_problem_document() -> None:
    """Never a redirect."""
    response = API.error_response(request(), MISSING_KEY)
    assert (response.status_code, response.media_type) == (401, MEDIA_TYPE)
