"""HTTP endpoints for feedback, as a router for an application, and as an application of their own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mailctl import runtime
from mailctl.feedback.listeners import wait_for_listeners
from mailctl.web.api import health
from mailctl.web.problem import problem_response
from mailctl.web.routing import add_security_headers, escape_json
from mailctl.web.unsubscribe import unsubscribe_router
from mailctl.web.webhooks import WEBHOOK_PATH, answer_webhook, webhook_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response


@asynccontextmanager
async def _wait_at_shutdown(_: FastAPI) -> AsyncIterator[None]:
    """Wait for on_feedback functions: after the shutdown, uvicorn raises the signal that ends the process."""
    yield
    await run_in_threadpool(wait_for_listeners)


def make_feedback_router() -> APIRouter:
    """Return a router for this process's delivery log: POST /webhooks/PROVIDER, GET and POST /unsubscribe.

    It needs no key of the dashboard: a provider proves who it is, and a recipient has a sealed link.
    """
    router = APIRouter(lifespan=_wait_at_shutdown)
    router.include_router(webhook_router())
    router.include_router(unsubscribe_router())
    return router


def create_feedback_app() -> FastAPI:
    """Return the router as an application, with /healthz for probes."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        runtime.close()

    app = FastAPI(title="mailctl", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.include_router(health.public_router)
    # Before the router's own route: providers send many requests, and FastAPI's overhead for each would be as
    # large as the time for recording it.
    app.add_route(WEBHOOK_PATH, answer_webhook, methods=["POST"])
    app.include_router(make_feedback_router())
    app.add_exception_handler(HTTPException, _error_handler)
    app.add_exception_handler(Exception, _error_handler)
    return app


async def _error_handler(_: Request, error: Exception) -> Response:
    """Answer requests that match no route."""
    return add_security_headers(escape_json(problem_response(error)))
