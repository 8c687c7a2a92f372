"""A running dashboard, with a delivery log in which there is an email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from mailctl import runtime
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN = "canary-token-that-nobody-may-read"
PAGES = (
    *("/", "/overview", "/emails", "/queues", "/workers", "/stats", "/suppressions", "/check-config"),
    *("/emails/{id}", "/previews", "/previews/reset"),
)
ENDPOINTS = (
    *("/readyz", "/metrics", "/api/overview", "/api/emails", "/api/emails/{id}", "/api/emails/{id}/why"),
    *("/api/queues", "/api/workers", "/api/stats", "/api/suppressions", "/api/openapi.json", "/api/other"),
    "/api/unsubscribes",
    "/previews/reset/version",
)
#: The routes that need no key.
OPEN = {"/healthz", "/login", "/logout", "/static/{name}"}


class Site:
    """A running dashboard, and its delivery log."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = runtime.current().api_keys.create("test")
        self.email_id = self.record("ada@example.com")

    def record(self, address: str, kind: str = "reset") -> str:
        """Record an email, with a token of the service."""
        parts = runtime.current()
        tokens = {"token": TOKEN} if kind == "reset" else {}
        content = make_content(
            BUILT_IN_KINDS[kind], make_user(email=address, id="7"), origins=parts.link_origins, tokens=tokens
        )
        return Enqueuer(parts).record(EmailRequest(kind=BUILT_IN_KINDS[kind]), [content]).ids[0]

    def client(self, key: str | None = None) -> httpx.Client:
        """Return a client with a key, or without one."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)

    def all_paths(self, app: FastAPI) -> list[str]:
        """Return a path for each route of an application that needs a key."""
        parts = {"{task_id}": self.email_id, "{kind}": "reset", "{unknown:path}": "other"}
        found = [path for path in _route_paths(app.routes) if path not in OPEN and not _is_redirect(path)]
        for name, value in parts.items():
            found = [path.replace(name, value) for path in found]
        assert not [path for path in found if "{" in path]
        return found

    def paths(self, patterns: tuple[str, ...]) -> list[str]:
        """Return the paths of the email of this log."""
        return [pattern.format(id=self.email_id) for pattern in patterns]


def _is_redirect(path: str) -> bool:
    """Whether a path has a slash too many, and so leads to the path without it."""
    return path.endswith("/") and path != "/"


def _route_paths(routes: Any) -> list[str]:
    found: list[str] = []
    for route in routes:
        # FastAPI keeps routers that were included as they are, or copies their routes.
        inner = getattr(route, "original_router", None)
        found += _route_paths(inner.routes) if inner else [route.path]
    return found
