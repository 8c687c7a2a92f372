"""The dashboard: read-only pages and a JSON API over the delivery log.

`create_app(settings)` returns a complete application. `router` is for an application that exists already:

    app.include_router(mailctl.web.router, prefix="/mail")

`make_router(authorize=Depends(…))` returns one for which the service's own sign-in decides.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mailctl.errors import ExtraMissing

if TYPE_CHECKING:
    from fastapi import APIRouter

    #: The dashboard of this process's delivery log; the log is opened by the first request.
    router: APIRouter

try:
    for _name in ("fastapi", "uvicorn"):
        import_module(_name)
except ModuleNotFoundError as error:
    raise ExtraMissing(
        f"The dashboard, webhooks and unsubscribing need {error.name}, which is not installed.", extra="web"
    ) from error

from mailctl.web.app import create_app, make_router

__all__ = ["create_app", "make_router", "router"]


def __getattr__(name: str) -> object:
    if name == "router":
        globals()["router"] = router = make_router()
        return router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
