"""Requests to a dashboard as a server would build them."""

from __future__ import annotations

from functools import cache

from fastapi import FastAPI
from starlette.requests import Request

from mailctl.web.app import make_router


@cache
def _application(prefix: str) -> FastAPI:
    app = FastAPI()
    app.include_router(make_router(), prefix=prefix)
    return app


def request(
    path: str = "/", *, method: str = "GET", query: str = "", prefix: str = "", **headers: str
) -> Request:
    """Return a request to a dashboard that is mounted under a prefix.

    Args:
        headers: by name, with underscores instead of hyphens.
    """
    app = _application(prefix)
    return Request(
        {
            "type": "http",
            "method": method,
            "path": prefix + path,
            "query_string": query.encode(),
            "headers": [
                (name.replace("_", "-").encode(), value.encode())
                for name, value in ({"host": "mail.example.com"} | headers).items()
            ],
            "scheme": "https",
            "server": ("mail.example.com", 443),
            "client": ("192.0.2.1", 5000),
            "app": app,
            "router": app.router,
        }
    )
