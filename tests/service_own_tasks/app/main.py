"""The endpoints: sign up, verify, reset, sign in from a new address; each link carries a JWT."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tests.service_own_tasks.app import tokens, users
from tests.service_own_tasks.app.email_service import EmailService

app = FastAPI(title="A service with its own tasks")


class Account(BaseModel):
    """What somebody says who wants an account."""

    email: str
    username: str
    first_name: str = ""
    password: str


class Password(BaseModel):
    """A new password."""

    password: str


class SignIn(BaseModel):
    """Somebody who signs in."""

    email: str
    password: str


@app.exception_handler(tokens.InvalidToken)
async def refuse(_: Request, __: tokens.InvalidToken) -> JSONResponse:
    """Say that a link does not work."""
    return JSONResponse({"detail": "The link is invalid or has expired."}, status_code=400)


@app.post("/sign-up", status_code=201)
async def sign_up(account: Account) -> dict[str, object]:
    """Add a user, and send the welcome and the link that verifies the address."""
    user = users.add(account.email, account.username, account.first_name, account.password)
    token = tokens.make("verification", subject=user.id, seconds=86400)
    ids = [
        await EmailService.send_welcome_email(user),
        await EmailService.send_verification_email(user, token),
    ]
    return {"id": user.id, "task_ids": ids}


@app.get("/verify-email")
async def verify(t: str) -> dict[str, bool]:
    """Verify the address of a user."""
    claims = tokens.read(t, purpose="verification")
    users.execute("UPDATE users SET is_verified = 1 WHERE id = ?", claims["sub"])
    return {"is_verified": True}


@app.post("/forgot-password", status_code=202)
async def forgot(account: dict[str, str]) -> dict[str, object]:
    """Send the link that resets a password."""
    user = users.find("email", account["email"])
    if user is None:
        return {"task_ids": []}
    token = tokens.make("reset", subject=user.id, seconds=3600)
    return {"task_ids": [await EmailService.send_password_reset_email(user, token)]}


@app.post("/reset-password")
async def reset(t: str, chosen: Password) -> dict[str, bool]:
    """Set a new password."""
    claims = tokens.read(t, purpose="reset")
    users.execute("UPDATE users SET password = ? WHERE id = ?", chosen.password, claims["sub"])
    return {"is_reset": True}


@app.post("/sign-in")
async def sign_in(who: SignIn, request: Request) -> dict[str, object]:
    """Sign in; from an address that is new, send a notice."""
    user = users.find("email", who.email)
    if user is None or user.password != who.password:
        raise HTTPException(401, "Wrong address or password.")
    ip = request.headers.get("X-Forwarded-For") or (request.client.host if request.client else "")
    known = users.execute("SELECT action FROM addresses WHERE user_id = ? AND ip = ?", user.id, ip)
    if known:
        return {"action": known[0]["action"], "task_ids": []}
    users.execute("INSERT INTO addresses VALUES (?, ?, 'unknown')", user.id, ip)
    answers = [
        tokens.make("ip-access", subject=user.id, seconds=86400, ip=ip, action=action)
        for action in ("whitelist", "blacklist")
    ]
    return {
        "action": "unknown",
        "task_ids": [await EmailService.send_new_ip_notification(user, ip, *answers)],
    }


@app.get("/api/v1/ip-access/verify")
async def answer(t: str) -> dict[str, str]:
    """Allow or block an address."""
    claims = tokens.read(t, purpose="ip-access")
    statement = "UPDATE addresses SET action = ? WHERE user_id = ? AND ip = ?"
    users.execute(statement, claims["action"], claims["sub"], claims["ip"])
    return {"action": claims["action"]}
