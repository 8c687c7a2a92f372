"""The service: sign up, confirm, reset, sign in from a new address; each with an email through mailctl."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mailctl import EmailService, links, web
from tests.service import accounts, api, pages
from tests.service.database import engine, make_tables


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the delivery log and make the tables before the first request; close both after the last."""
    await EmailService.prepare()
    await make_tables()
    yield
    await EmailService.close()
    await engine.dispose()


app = FastAPI(title="A service with mailctl", lifespan=lifespan)
app.include_router(api.router)
app.include_router(pages.router)
# The dashboard, for those with a key: `mailctl keys create`.
app.include_router(web.router, prefix="/mail")
app.add_exception_handler(accounts.Denied, pages.say_why_not)
app.add_exception_handler(links.InvalidLink, pages.say_why_not)
app.add_exception_handler(HTTPException, pages.say_what_is_missing)
app.add_exception_handler(RequestValidationError, pages.say_what_is_missing)
