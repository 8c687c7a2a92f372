"""The pages for people. A link shows a page with a button, and only the button acts: scanners open links."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncSession

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

_PASSWORD = (
    '<p><label>Password <input type="password" name="password" autocomplete="new-password" required></label>'
)


def page(title: str, content: str = "", *, status: int = 200) -> HTMLResponse:
    """Return a whole page."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@router.get("/")
async def home() -> HTMLResponse:
    """Show what one can do without an account."""
    return page(
        "A service with mailctl",
        '<form method="post" action="new-account"><h2>Sign up</h2>'
        '<p><label>Email <input type="email" name="email" autocomplete="email" required></label>'
        '<p><label>User name <input name="username" autocomplete="username" required></label>'
        f"{_PASSWORD}<p><button>Sign up</button></form>"
        '<form method="post" action="new-password"><h2>Password forgotten</h2>'
        '<p><label>Email <input type="email" name="email" autocomplete="email" required></label>'
        "<p><button>Send me a link</button></form>",
    )


@router.post("/new-account")
async def sign_up(email: Field, username: Field, password: Field, database: Database) -> HTMLResponse:
    """Make an account."""
    account = accounts.NewAccount(email=email, username=username, password=password)
    await accounts.sign_up(database, account)
    await database.commit()
    return page("Look into your mail", "<p>We have sent you a link to confirm your address.", status=201)


@router.post("/new-password")
async def request_reset(email: Field, database: Database) -> HTMLResponse:
    """Send a link to choose a new password."""
    await accounts.request_reset(database, email)
    return page("Look into your mail", "<p>If there is such an account, we have sent a link to it.")


@router.get("/verify-email")
async def show_verification(t: str) -> HTMLResponse:
    """Show the button that confirms an address."""
    claims = links.verify(t, purpose="verify-email")
    return page("Confirm your address", _button("Confirm my address", f"<p>{escape(claims.email)}"))


@router.post("/verify-email")
async def verify(t: str, database: Database) -> HTMLResponse:
    """Confirm an address."""
    await accounts.verify_address(database, t)
    return page("Your address is confirmed")


@router.get("/reset-password")
async def show_reset(t: str) -> HTMLResponse:
    """Ask for a new password."""
    links.verify(t, purpose="reset-password")
    return page("Choose a new password", _button("Save the password", _PASSWORD))


@router.post("/reset-password")
async def reset(t: str, password: Field, database: Database) -> HTMLResponse:
    """Save a new password."""
    await accounts.reset_password(database, t, password)
    return page("Your password is saved")


@router.get("/api/v1/ip-access/verify")
async def show_question(t: str) -> HTMLResponse:
    """Show the button that allows or blocks an address."""
    is_allowing = accounts.is_allowing(t)
    title = "Was it you?" if is_allowing else "Was it not you?"
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


def _button(text: str, before: str = "") -> str:
    """Return a form that posts to where the page came from, `t` and all."""
    return f'<form method="post">{before}<p><button>{escape(text)}</button></form>'
