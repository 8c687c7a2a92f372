"""Rendering pages, and the paths and figures on them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mailctl.errors import NotFound
from mailctl.web.problem import AccessDenied
from mailctl.web.templating import _environment, error_page, path_to
from tests.unit.web.requests import request


def text_of(expression: str, **values: object) -> str:
    """Return what a template makes of an expression."""
    return _environment().from_string("{{ " + expression + " }}").render(**values)


def test_paths_have_the_prefix_and_no_host() -> None:
    """The Host header comes from the client."""
    mounted = request("/overview", prefix="/ops/mail", host="evil.example")
    assert path_to(mounted, "home") == "/ops/mail/"
    assert path_to(mounted, "email", task_id="e1") == "/ops/mail/emails/e1"
    assert path_to(request(), "overview") == "/overview"


def test_figures_are_formatted_by_filters() -> None:
    """What is not known is a dash, or nothing."""
    at = datetime(2030, 5, 4, 12, 15, 30, 999, tzinfo=timezone(timedelta(hours=2)))
    assert [text_of("x|timestamp", x=at), text_of("x|timestamp", x=None)] == ["2030-05-04 10:15:30Z", ""]
    assert [text_of("x|latency", x=3.456), text_of("x|latency", x=None)] == ["3.46 s", "-"]
    assert [text_of("x|percent", x=0.0351), text_of("x|percent", x=None)] == ["3.5%", "-"]
    assert [text_of("x|duration", x=5), text_of("x|duration", x=None)] == ["5 s", ""]


def test_values_are_escaped() -> None:
    """Whatever an address or a reason contains."""
    assert text_of("x", x="<script>") == "&lt;script&gt;"


def test_an_error_page_has_the_headers_of_the_error() -> None:
    """With the sentence and what to do."""
    page = error_page(request(), NotFound("There is no email <x>.", fix="Look again."))
    text = bytes(page.body).decode()
    assert page.status_code == 404
    assert "There is no email &lt;x&gt;." in text
    assert "Look again." in text
    denied = error_page(request(), AccessDenied(429, "Too many.", seconds_to_wait=7))
    assert denied.headers["retry-after"] == "7"
