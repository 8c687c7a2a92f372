"""The endpoints for programs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from mailctl import EmailService
from tests.service import accounts
from tests.service.database import User, session

Database = Annotated[AsyncSession, Depends(session)]
router = APIRouter()


class SignUp(BaseModel):
    """What somebody says who wants an account."""

    email: str
    username: str
    first_name: str = ""
    password: str = ""
    #: Makes the request fail after its email was recorded, for tests of what happens then.
    fail: bool = False


class SignIn(BaseModel):
    """What somebody says who has one."""

    email: str
    password: str
    ip: str


class Reset(BaseModel):
    """What somebody says who has forgotten the password."""

    email: str


class Started(BaseModel):
    """An email that was recorded."""

    task_id: str


@router.post("/sign-up", status_code=201)
async def sign_up(request: SignUp, database: Database) -> Started:
    """Make a user and the email that asks to confirm the address, or neither."""
    account = accounts.NewAccount(**request.model_dump(exclude={"fail"}))
    task_id = await accounts.sign_up(database, account)
    if request.fail:
        await database.rollback()
        raise HTTPException(500, "Something else went wrong.")
    await database.commit()
    return Started(task_id=task_id)


@router.post("/welcome/{user_id}", status_code=202)
async def welcome(user_id: int, database: Database) -> Started:
    """Greet a user."""
    user = await database.get_one(User, user_id)
    return Started(task_id=await EmailService.send_welcome_email(user))


@router.post("/password-reset", status_code=202)
async def request_reset(request: Reset, database: Database) -> dict[str, str]:
    """Send a link to choose a new password; the answer does not tell whether there is such a user."""
    await accounts.request_reset(database, request.email)
    return {"detail": "If there is such an account, an email is on its way."}


@router.post("/sign-in")
async def sign_in(request: SignIn, database: Database) -> dict[str, str]:
    """Sign in; tell the user if it is from a new address."""
    await accounts.sign_in(database, request.email, request.password, request.ip)
    return {"detail": "Welcome back."}
