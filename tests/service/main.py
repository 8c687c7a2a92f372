"""The endpoints: each records its email with the data that it belongs to, and answers at once."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mailctl import EmailService, links
from tests.service.database import User, make_tables, session

Database = Annotated[AsyncSession, Depends(session)]
#: Emails join the service's transactions where the delivery log is in the service's database.
SHARES_DATABASE = bool(os.environ.get("MAILCTL_DATABASE_URL"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make tables and open the delivery log before the first request."""
    await make_tables()
    await EmailService.prepare()
    yield


app = FastAPI(title="A service with mailctl", lifespan=lifespan)


class SignUp(BaseModel):
    """What somebody says who wants an account."""

    email: str
    username: str
    first_name: str = ""
    #: Makes the request fail after its email was recorded, for tests of what happens then.
    fail: bool = False


class SignIn(BaseModel):
    """What somebody says who has one."""

    email: str
    ip: str


class Reset(BaseModel):
    """What somebody says who has forgotten the password."""

    email: str


class Started(BaseModel):
    """An email that was recorded."""

    task_id: str


@app.post("/sign-up", status_code=201)
async def sign_up(request: SignUp, database: Database) -> Started:
    """Make a user and the email that asks to confirm the address, or neither."""
    user = User(email=request.email, username=request.username, first_name=request.first_name)
    database.add(user)
    try:
        await database.flush()
    except IntegrityError:
        raise HTTPException(409, "This address has an account.") from None
    task_id = await EmailService.send_verification_email(
        user, secrets.token_urlsafe(24), session=_joined(database)
    )
    if request.fail:
        await database.rollback()
        raise HTTPException(500, "Something else went wrong.")
    await database.commit()
    return Started(task_id=task_id)


@app.post("/welcome/{user_id}", status_code=202)
async def welcome(user_id: int, database: Database) -> Started:
    """Greet a user."""
    user = await database.get_one(User, user_id)
    return Started(task_id=await EmailService.send_welcome_email(user))


@app.post("/password-reset", status_code=202)
async def request_reset(request: Reset, database: Database) -> dict[str, str]:
    """Send a link to choose a new password; the answer does not tell whether there is such a user."""
    user = await database.scalar(select(User).where(User.email == request.email))
    if user is not None:
        await EmailService.send_password_reset_email(user, secrets.token_urlsafe(24))
    return {"detail": "If there is such an account, an email is on its way."}


@app.post("/sign-in")
async def sign_in(request: SignIn, database: Database) -> dict[str, str]:
    """Sign in; tell the user if it is from a new address."""
    user = await database.scalar(select(User).where(User.email == request.email))
    if user is None:
        raise HTTPException(401, "Unknown.")
    if request.ip != user.last_ip:
        await EmailService.send_new_ip_notification(
            user, request.ip, secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        )
    return {"detail": "Welcome back."}


@app.get("/verify-email")
async def show_verification(t: str) -> HTMLResponse:
    """Show a button: mail scanners open links, but press no buttons."""
    links.verify(t, purpose="verify-email")
    return HTMLResponse('<form method="post"><button>Confirm my address</button></form>')


@app.post("/verify-email")
async def verify(t: str, database: Database) -> dict[str, str]:
    """Confirm the address that the link was sent to."""
    try:
        claims = links.verify(t, purpose="verify-email")
    except links.InvalidLink as error:
        raise HTTPException(400, error.message) from None
    user = await database.get_one(User, int(claims.user_id or 0))
    user.is_verified = True
    await database.commit()
    return {"detail": "Thank you."}


def _joined(database: AsyncSession) -> AsyncSession | None:
    return database if SHARES_DATABASE else None
