"""The dashboard: pages and JSON that show the delivery log, and change nothing.

`create_app(settings)` is a whole application; `router` goes into a service of one's own:

    app.include_router(mailctl.web.router, prefix="/mail")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mailctl.errors import ExtraMissing

if TYPE_CHECKING:
    from fastapi import APIRouter

    #: The dashboard on the delivery log of this process; nothing is opened before the first request.
    router: APIRouter

try:
    for _name in ("fastapi", "uvicorn"):
        import_module(_name)
except ModuleNotFoundError as error:
    raise ExtraMissing(f"The dashboard needs {error.name}, which is not installed.", extra="web") from error

from mailctl.web.app import create_app

__all__ = ["create_app", "router"]


def __getattr__(name: str) -> object:
    if name == "router":
        from mailctl.web.app import make_router

        globals()["router"] = made = make_router()
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
