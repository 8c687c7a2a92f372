"""Which paths the dashboard has, alone and in a service."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Depends, FastAPI

from mailctl.web.app import make_router


def _staff_only() -> None:
    """Allow everybody, as a dependency of a service might."""


def paths(routes: Any) -> set[str]:
    """Return the paths of routes; FastAPI keeps routers that were included, or copies their routes."""
    found: set[str] = set()
    for route in routes:
        inner = getattr(route, "original_router", None)
        found |= paths(inner.routes) if inner else {route.path}
    return found


ALONE, IN_A_SERVICE = (paths(make_router(**how).routes) for how in ({}, {"authorize": Depends(_staff_only)}))


def test_a_service_that_decides_itself_has_no_sign_in() -> None:
    """Its own page is where people sign in."""
    sign_in = {"/login", "/login/", "/logout"}
    assert sign_in | {"/emails", "/api/emails", "/healthz"} <= ALONE
    assert sign_in == ALONE - IN_A_SERVICE


@pytest.mark.parametrize("found", [ALONE, IN_A_SERVICE], ids=["alone", "in a service"])
def test_every_path_with_a_slash_too_many_is_redirected(found: set[str]) -> None:
    """The application would else answer, to the host that the request names and without our headers."""
    pages = {path for path in found if not path.endswith(("/", ":path}"))}
    assert {path for path in pages if f"{path}/" not in found} <= {"/logout", "/static/{name}"}


@pytest.mark.parametrize("is_included", [True, False])
def test_the_api_is_in_the_document_of_a_service_on_request(is_included: bool) -> None:
    """Pages never are."""
    app = FastAPI()
    app.include_router(make_router(include_in_schema=is_included), prefix="/mail")
    described = app.openapi()["paths"]
    assert ("/mail/api/emails" in described) is is_included
    assert "/mail/emails" not in described
