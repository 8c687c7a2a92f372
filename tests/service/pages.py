"""The pages for people. A link shows a page with a button, and only the button acts: scanners open links."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException

from mailctl import links
from tests.service import accounts
from tests.service.database import session

Database = Annotated[AsyncSession, Depends(session)]
Field = Annotated[str, Form()]
router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

#: A page may use nothing but itself, tells nobody where its visitor came from, and is kept nowhere.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

_NEW_PASSWORD = (
    f"<p><label>Password, {accounts.SHORTEST_PASSWORD} characters or more "
    '<input type="password" name="password" autocomplete="new-password" '
    f'minlength="{accounts.SHORTEST_PASSWORD}" required></label>'
)
_NAVIGATION = '<nav><p><a href="/">Home</a> <a href="/sign-in">Sign in</a></nav>'


def page(title: str, content: str = "", *, status: int = 200) -> HTMLResponse:
    """Return a whole page."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body><main><h1>{escape(title)}</h1>{content}</main>{_NAVIGATION}</body></html>"
    )
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@router.get("/")
async def home() -> HTMLResponse:
    """Show what one can do without an account."""
    return page(
        "A service with mailctl",
        f"{_sign_up_form()}{_forgotten_form()}"
        '<p>For operators: <a href="/mail/">the emails of this service</a>, with a key from '
        "<code>mailctl keys create NAME</code>.",
    )


def _sign_up_form(email: str = "", username: str = "") -> str:
    return (
        '<form method="post" action="/new-account"><h2>Sign up</h2>'
        f"{_email_field(email)}"
        '<p><label>User name <input name="username" autocomplete="username" required '
        f'value="{escape(username)}"></label>{_NEW_PASSWORD}<p><button>Sign up</button></form>'
    )


def _forgotten_form() -> str:
    return (
        '<form method="post" action="/new-password"><h2>Forgot your password?</h2>'
        f"{_email_field()}<p><button>Send me a link</button></form>"
    )


def _sign_in_form(email: str = "") -> str:
    return (
        f'<form method="post" action="/session">{_email_field(email)}'
        '<p><label>Password <input type="password" name="password" autocomplete="current-password" required>'
        "</label><p><button>Sign in</button></form>"
    )


def _email_field(value: str = "") -> str:
    field = f'<input type="email" name="email" autocomplete="email" required value="{escape(value)}">'
    return f"<p><label>Email {field}</label>"


@router.post("/new-account")
async def sign_up(email: Field, username: Field, password: Field, database: Database) -> HTMLResponse:
    """Make an account; what cannot be one is shown again, to be corrected."""
    account = accounts.NewAccount(email=email, username=username, password=password)
    try:
        accounts.check_password(password)
        await accounts.sign_up(database, account)
    except accounts.Denied as error:
        return _again("Sign up", error, _sign_up_form(email, username))
    await database.commit()
    return page("Check your inbox", "<p>We have sent you a link to confirm your address.", status=201)


@router.post("/new-password")
async def request_reset(email: Field, database: Database) -> HTMLResponse:
    """Send a link to choose a new password."""
    await accounts.request_reset(database, email)
    return page("Check your inbox", "<p>If there is such an account, we have sent a link to it.")


@router.get("/sign-in")
async def show_sign_in() -> HTMLResponse:
    """Ask for address and password."""
    return page("Sign in", _sign_in_form() + _forgotten_form())


@router.post("/session")
async def sign_in(request: Request, email: Field, password: Field, database: Database) -> HTMLResponse:
    """Let somebody in, or show the form again with the reason."""
    ip = request.client.host if request.client else "127.0.0.1"
    try:
        await accounts.sign_in(database, email, password, ip)
    except accounts.Denied as error:
        return _again("Sign in", error, _sign_in_form(email) + _forgotten_form())
    return page("Welcome back", f"<p>You are signed in as {escape(email)}.")


def _again(title: str, error: accounts.Denied, form: str) -> HTMLResponse:
    """Return a page with the reason and the form, filled in as before."""
    return page(title, f'<p role="alert"><strong>{escape(error.text)}</strong>{form}', status=error.status)


@router.get("/verify-email")
async def show_verification(t: str) -> HTMLResponse:
    """Show the button that confirms an address."""
    claims = links.verify(t, purpose="verify-email")
    return page("Confirm your address", _button("Confirm my address", f"<p>{escape(claims.email)}"))


@router.post("/verify-email")
async def verify(t: str, database: Database) -> HTMLResponse:
    """Confirm an address."""
    await accounts.verify_address(database, t)
    return page("Your address is confirmed", '<p><a href="/sign-in">Sign in</a> now.')


@router.get("/reset-password")
async def show_reset(t: str) -> HTMLResponse:
    """Ask for a new password."""
    links.verify(t, purpose="reset-password")
    return page("Choose a new password", _button("Save the password", _NEW_PASSWORD))


@router.post("/reset-password")
async def reset(t: str, password: Field, database: Database) -> HTMLResponse:
    """Save a new password; one that is too short does not use up the link."""
    try:
        accounts.check_password(password)
    except accounts.Denied as error:
        return _again("Choose a new password", error, _button("Save the password", _NEW_PASSWORD))
    await accounts.reset_password(database, t, password)
    return page("Your password is saved", '<p><a href="/sign-in">Sign in</a> with it.')


@router.get("/api/v1/ip-access/verify")
async def show_question(t: str) -> HTMLResponse:
    """Show the button that allows or blocks an address."""
    is_allowing = accounts.is_allowing(t)
    title = "Was this you?" if is_allowing else "Was this not you?"
    return page(title, _button("Allow this address" if is_allowing else "Block this address"))


@router.post("/api/v1/ip-access/verify")
async def answer(t: str, database: Database) -> HTMLResponse:
    """Allow or block an address."""
    is_allowed = await accounts.answer_about_address(database, t)
    return page("The address is allowed" if is_allowed else "The address is blocked")


async def say_why_not(request: Request, error: Exception) -> HTMLResponse:
    """Tell a person what cannot be done."""
    assert isinstance(error, accounts.Denied | links.InvalidLink)
    if isinstance(error, accounts.Denied):
        status, text = error.status, error.text
    else:
        status, text = (410 if isinstance(error, links.UsedLink) else 400), str(error)
    return page("That did not work", f"<p>{escape(text)}", status=status)


async def say_what_is_missing(request: Request, error: Exception) -> Response:
    """Answer a request for what does not exist or lacks something: a page for people, JSON for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        if isinstance(error, RequestValidationError):
            return await request_validation_exception_handler(request, error)
        assert isinstance(error, HTTPException)
        return await http_exception_handler(request, error)
    status = error.status_code if isinstance(error, HTTPException) else 422
    title = "There is no such page" if status == 404 else "That did not work"
    text = "Something is missing in this address or form." if status == 422 else ""
    return page(title, f"<p>{text}" if text else "", status=status)


def _button(text: str, before: str = "") -> str:
    """Return a form that posts to where the page came from, `t` and all."""
    return f'<form method="post">{before}<p><button>{escape(text)}</button></form>'
