"""The dashboard in a real browser: every page and every kind of email, narrow and wide, light and dark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mailctl import runtime, web
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.settings import Settings
from mailctl.worker import process_state
from tests.acceptance.browser import open_browser
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.browser import Browser

#: Widths, and whether it is dark: between them, every rule of the style sheet applies.
LOOKS: tuple[tuple[int, bool], ...] = ((360, False), (1280, True))
#: A folder for screenshots of everything, in every look.
TOUR = os.environ.get("MAILCTL_TOUR", "")
if TOUR:
    LOOKS = ((360, False), (360, True), (1280, False), (1280, True))
#: Pages of which there are several: each has one look, and all of them have all.
SERIES = ("/emails/", "/previews/")
pytestmark = pytest.mark.timeout(900)
AXE = "axe-core@4"
_RUN_AXE = (
    "const tell = arguments[0];"
    "axe.run({resultTypes: ['violations']})"
    ".then(tell, error => tell({violations: [{id: String(error), impact: 'critical'}]}))"
)
_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core: the newest from npm, or the one of an installed package."""
    folder = tmp_path_factory.mktemp("axe")
    if (npm := shutil.which("npm")) is not None:
        command = [npm, "install", "--no-save", "--no-audit", "--prefix", str(folder), AXE]
        subprocess.run(command, capture_output=True, timeout=90, check=False)
    fetched = folder / "node_modules" / "axe-core" / "axe.min.js"
    return (fetched if fetched.exists() else files("axe_core_python") / "axe.min.js").read_text()


class Dashboard:
    """A dashboard with emails in it, and a browser that is signed in."""

    def __init__(self, address: str, key: str, browser: Browser, ids: list[str]) -> None:
        self.address = address
        self._key = key
        self.browser = browser
        self.ids = ids

    @property
    def pages(self) -> list[str]:
        """Every page, with emails in several states, an empty list and an error."""
        pages = ["/overview", "/queues", "/workers", "/stats?by=state", "/suppressions", "/check-config"]
        pages += ["/emails", "/emails?state=held", "/emails/ffffffff", "/previews"]
        pages += [f"/emails/{task_id}" for task_id in self.ids]
        return pages + [f"/previews/reset?part={part}" for part in ("html", "text", "headers", "source")]

    def fetch(self, path: str) -> str:
        """Return the text of a page, without a browser."""
        headers = {"Authorization": f"Bearer {self._key}"}
        return httpx.get(self.address + path, headers=headers, timeout=120).raise_for_status().text

    def open(self, path: str) -> None:
        """Go to a page."""
        self.browser.open(self.address + path)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """With captured emails, one that waits, one that failed and an address that is suppressed."""
    folder = tmp_path_factory.mktemp("dashboard")
    settings = Settings(mailctl_home=folder / "home")
    runtime.close()
    runtime.configure(settings)
    ids = _fill()
    key = runtime.current().api_keys.create("browser").plaintext
    with serving(web.create_app(settings)) as address, open_browser(folder) as browser:
        browser.open(f"{address}/emails?kind=reset")
        browser.fill("[name=key]", key)
        browser.click("button")
        # Signing in leads to the page that was requested.
        assert browser.run("return location.pathname + location.search") == "/emails?kind=reset"
        yield Dashboard(address, key, browser, ids)
    process_state.close()
    runtime.close()
    runtime.configure(None)


def _fill() -> list[str]:
    parts = runtime.current()
    ids = []
    for name, address in (("welcome", "ada"), ("reset", "bob"), ("verification", "cleo"), ("new-ip", "dan")):
        content = make_content(
            BUILT_IN_KINDS[name],
            make_user(email=f"{address}@example.com", id="1", username=address),
            origins=parts.link_origins,
            context={"ip_address": "203.0.113.7"} if name == "new-ip" else None,
        )
        ids += Enqueuer(parts).record(EmailRequest(kind=BUILT_IN_KINDS[name]), [content]).ids
    for task_id in ids[:2]:
        process_state.current().delivery.deliver(task_id, worker="celery@desk")
    parts.publications.fail(ids[2], reason="refused at rcpt: 550 5.1.1 no such user here")
    parts.suppressions.add(
        {"gone@example.com": "left us"}, source=SuppressionSource.OPERATOR, actor="zoe@desk"
    )
    return ids


def test_there_are_keyboard_shortcuts(dashboard: Dashboard) -> None:
    """j selects, Enter opens, / searches; links are masked."""
    browser = dashboard.browser
    browser.look(width=1280, dark=False)
    dashboard.open("/emails?kind=reset")
    browser.press("j")
    assert browser.run("return document.activeElement.textContent") == dashboard.ids[1][:8]
    browser.click_focused()
    assert browser.run("return location.pathname") == f"/emails/{dashboard.ids[1]}"
    assert "captured" in browser.text
    assert "/reset-password?t=***" in browser.text
    assert "Choose a new password" in browser.text_in_frame()
    dashboard.open("/emails")
    browser.press("/")
    assert browser.run("return document.activeElement.name") == "to"
    assert browser.foreign_requests(dashboard.address) == []


def test_pages_are_accessible(dashboard: Dashboard, axe: str) -> None:
    """axe-core finds nothing, nothing is wider than the screen, and the console has no errors."""
    faults = []
    for number, page in enumerate(dashboard.pages):
        dashboard.open(page)
        looks = (LOOKS[number % 2],) if page.startswith(SERIES) and not TOUR else LOOKS
        for width, dark in looks:
            dashboard.browser.look(width=width, dark=dark)
            dashboard.browser.keep(TOUR, page, width=width, dark=dark)
            faults += [(page, width, fault) for fault in _faults(dashboard.browser, axe)]
    assert faults == []
    assert dashboard.browser.complaints() == []


def test_nothing_is_wider_than_a_tablet(dashboard: Dashboard) -> None:
    """Between the narrow and the wide layout, too."""
    too_wide = []
    for page in ("/emails", "/workers", "/queues", "/overview", "/suppressions"):
        dashboard.open(page)
        for width in (768, 1001):
            dashboard.browser.look(width=width, dark=False)
            if _overflow(dashboard.browser) > 0:
                too_wide.append((page, width))
    assert too_wide == []


def test_the_sign_in_page_shows_one_field(dashboard: Dashboard) -> None:
    """The user name that password managers need is hidden."""
    dashboard.open("/login")
    inputs = "[...document.querySelectorAll('input')].filter(each => each.offsetParent)"
    assert dashboard.browser.run(f"return {inputs}.map(each => each.name)") == ["key"]


_REFRESH = "document.dispatchEvent(new Event('visibilitychange'));"
_COUNT_FETCHES = (
    "const fetch = window.fetch; window.fetched = 0;"
    "window.fetch = (...all) => { window.fetched += 1; return fetch(...all); };"
)
#: A server that accepts a request and says nothing: only a limit of time ends that, here at once.
_NEVER_ANSWERED = (
    "AbortSignal.timeout = () => AbortSignal.abort();"
    "window.fetch = (_, { signal }) => new Promise((_, refuse) => signal.aborted && refuse(signal.reason));"
)


def test_a_refresh_leaves_a_selection_alone_and_reports_when_it_fails(dashboard: Dashboard) -> None:
    """What somebody copies stays selected; figures that cannot be refreshed say how old they are."""
    browser = dashboard.browser
    dashboard.open("/overview")
    browser.run(f"{_COUNT_FETCHES} window.old = document.querySelector('.tiles');")
    browser.run(f"getSelection().selectAllChildren(window.old); {_REFRESH}")
    assert browser.run("return [window.fetched, window.old.isConnected]") == [0, True]
    browser.run(f"getSelection().removeAllRanges(); {_REFRESH}")
    browser.wait_until(lambda: not browser.run("return window.old.isConnected"))
    browser.run(f"{_NEVER_ANSWERED} {_REFRESH}")
    browser.wait_until(lambda: "The server does not answer. These figures are from" in browser.text)


def test_emails_are_accessible(dashboard: Dashboard, axe: str, tmp_path: Path) -> None:
    """Every kind, as a mail client would show it; nothing is wider than the screen."""
    faults = []
    file = tmp_path / "email.html"
    for kind in BUILT_IN_KINDS:
        for width, dark in LOOKS:
            page = dashboard.fetch(f"/previews/{kind}?scheme={'dark' if dark else 'light'}")
            html = _framed_document(page)
            # From a file, because the dashboard lets no script look at an email.
            file.write_text(html)
            dashboard.browser.open(file.as_uri())
            dashboard.browser.look(width=width, dark=dark)
            dashboard.browser.keep(TOUR, f"email-{kind}", width=width, dark=dark)
            faults += [(kind, width, fault) for fault in _faults(dashboard.browser, axe)]
    assert faults == []


def _framed_document(page: str) -> str:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "iframe":
                found.append(dict(attrs)["srcdoc"] or "")

    Reader().feed(page)
    [document] = found
    # Without its policy, which would also keep axe-core out.
    return re.sub(r"<meta http-equiv=.*?>", "", document)


def _overflow(browser: Browser) -> int:
    """Return by how many pixels a page is wider than its window."""
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(browser.run(wider))


def _faults(browser: Browser, axe: str) -> list[Any]:
    overflow = _overflow(browser)
    if not browser.run("return 'axe' in window"):
        browser.evaluate(axe)
    found = browser.run_async(_RUN_AXE)["violations"]
    faults = [
        (each["id"], [node["target"] for node in each.get("nodes", ())])
        for each in found
        if each["impact"] in _SERIOUS
    ]
    return [*faults, *([("too wide by", overflow)] if overflow > 0 else [])]
