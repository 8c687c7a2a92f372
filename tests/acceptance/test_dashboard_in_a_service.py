"""The dashboard as a part of a service that sends headers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request, Response

from mailctl import runtime, web
from mailctl.settings import Settings
from tests.acceptance.browser import open_browser
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path

#: Policies of services: a strict one, and one that allows everything.
SERVICE_POLICIES = (
    "default-src 'self'; frame-ancestors 'none'",
    "default-src * data: 'unsafe-inline' 'unsafe-eval'",
)
_HOSTILE_HTML = (
    '<html><body><p>Your code</p><p id="mark">untouched</p>'
    "<script>document.getElementById('mark').textContent = 'changed'</script>"
    "<img src='{outside}/pixel.png' onerror=\"document.getElementById('mark').textContent = 'changed'\">"
    "<link rel='stylesheet' href='{outside}/style.css'><iframe src='{outside}/frame'></iframe>"
    "<a href='{outside}/link'>a link</a></body></html>"
)


@pytest.mark.parametrize("policy", SERVICE_POLICIES, ids=["strict", "permissive"])
def test_emails_are_shown_in_a_service_with_headers_of_its_own(policy: str, tmp_path: Path) -> None:
    """Its middleware forbids frames; the email is shown, runs no script and loads nothing."""
    settings = Settings(mailctl_home=tmp_path / "home", mailctl_templates=tmp_path)
    service = FastAPI()
    service.include_router(web.router, prefix="/mail")

    @service.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Content-Security-Policy"] = policy
        return response

    runtime.close()
    runtime.configure(settings)
    with serving(service) as address, serving(FastAPI()) as outside, open_browser(tmp_path) as browser:
        (tmp_path / "welcome.txt").write_text("Your code")
        (tmp_path / "welcome.html").write_text(_HOSTILE_HTML.replace("{outside}", outside))
        browser.open(f"{address}/mail/previews/welcome")
        browser.fill("[name=key]", runtime.current().api_keys.create("browser").plaintext)
        browser.click("button")
        assert {"Your code", "untouched"} <= set(browser.text_in_frame().splitlines())
        browser.click_in_frame("a")
        assert "Your code" in browser.text_in_frame()
        assert browser.foreign_requests(address) == []
    runtime.close()
