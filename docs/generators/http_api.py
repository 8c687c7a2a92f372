"""The reference of the dashboard's JSON API, from its OpenAPI document."""

from __future__ import annotations

from fastapi import FastAPI

from docs.generators.markdown import code, escape, table
from mailctl.web import make_router


def http_api() -> str:
    """Return a table of what a program may ask, with its parameters."""
    app = FastAPI()
    app.include_router(make_router(include_in_schema=True))
    rows = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            names = ", ".join(code(each["name"]) for each in operation.get("parameters", ()))
            text = escape(operation.get("description") or operation.get("summary", ""))
            rows.append([code(f"{method.upper()} {path}"), text, names])
    return table(["request", "answer", "parameters"], rows)
