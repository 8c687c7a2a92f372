"""The dashboard in a real browser: every page and every email, narrow and wide, light and dark."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mailctl.catalog import KINDS
from tests.acceptance.browser import open_browser
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.browser import Browser
    from tests.acceptance.terminal import Terminal

#: A phone by day and a desk by night: between them, every rule of the style sheet.
LOOKS = ((360, False), (1280, True))
pytestmark = pytest.mark.timeout(300)
AXE = "axe-core@4"
_RUN_AXE = (
    "const tell = arguments[0];"
    "axe.run().then(tell, error => tell({violations: [{id: String(error), impact: 'critical'}]}))"
)
_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, fetched by npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch axe-core with")
    fetched = subprocess.run(
        [npm, "install", "--no-save", "--no-audit", "--prefix", str(folder), AXE],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch axe-core: {fetched.stderr[-200:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


class Dashboard:
    """A dashboard with emails in it, and a browser that is signed in."""

    def __init__(self, address: str, key: str, browser: Browser, ids: list[str]) -> None:
        self.address = address
        self._key = key
        self.browser = browser
        self.ids = ids

    def fetch(self, path: str) -> str:
        """Return what a program gets."""
        headers = {"Authorization": f"Bearer {self._key}"}
        return httpx.get(self.address + path, headers=headers, timeout=30).raise_for_status().text

    def open(self, path: str) -> None:
        """Go to a page."""
        self.browser.open(self.address + path)


@pytest.fixture
def dashboard(terminal: Terminal, tmp_path: Path) -> Iterator[Dashboard]:
    """With a captured email of each kind but one, and one that waits."""
    ids = [terminal.send("welcome", "--user-id", "1"), terminal.send("reset", "--user-id", "2")]
    assert terminal.run("worker", "--drain").code == 0
    ids.append(terminal.send("verification", "--user-id", "3", "--in", "2h"))
    key = terminal.run("keys", "create", "browser", "--json").data["key"]
    address = f"http://127.0.0.1:{(port := free_port())}"
    window = terminal.open(terminal.python, "-m", "mailctl", "web", "--port", str(port), name="web")
    window.wait_until_printed("dashboard:")
    with open_browser(tmp_path) as browser:
        browser.open(f"{address}/emails?kind=reset")
        browser.fill("[name=key]", key)
        browser.click("button")
        yield Dashboard(address, key, browser, ids)
    assert window.stop() in (0, -15)
    assert key not in window.output


def test_keys_lead_through_the_pages(dashboard: Dashboard) -> None:
    """Signing in leads where one wanted to go; j chooses, Enter opens, / searches; links stay masked."""
    browser = dashboard.browser
    assert browser.run("return location.pathname + location.search") == "/emails?kind=reset"
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


def test_pages_are_for_everybody(dashboard: Dashboard, axe: str) -> None:
    """axe-core finds no fault, nothing is wider than the screen, and the console has no complaint."""
    pages = ["/emails", "/emails?state=failed", "/workers", "/check-config", "/previews", "/emails/ffffffff"]
    pages += [f"/emails/{task_id}" for task_id in dashboard.ids]
    pages += [f"/previews/{kind}?part={part}" for kind in ("reset",) for part in ("html", "text", "source")]
    faults = []
    for page in pages:
        dashboard.open(page)
        for width, dark in LOOKS:
            dashboard.browser.look(width=width, dark=dark)
            faults += [(page, width, fault) for fault in _faults(dashboard.browser, axe)]
    assert faults == []
    assert dashboard.browser.complaints() == []


def test_emails_can_be_read(dashboard: Dashboard, axe: str, tmp_path: Path) -> None:
    """Every kind, as a mail program would show it: no fault, and nothing wider than a phone or a desk."""
    faults = []
    file = tmp_path / "email.html"
    for kind in KINDS:
        for width, dark in LOOKS:
            html = dashboard.fetch(f"/previews/{kind}/html?scheme={'dark' if dark else 'light'}")
            # From a file, because the dashboard lets no script look at an email.
            file.write_text(html)
            dashboard.browser.open(file.as_uri())
            dashboard.browser.look(width=width, dark=dark)
            faults += [(kind, width, fault) for fault in _faults(dashboard.browser, axe)]
    assert faults == []


def _faults(browser: Browser, axe: str) -> list[Any]:
    overflow = browser.run(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    browser.evaluate(axe)
    found = browser.run_async(_RUN_AXE)["violations"]
    faults = [
        (each["id"], [node["target"] for node in each.get("nodes", ())])
        for each in found
        if each["impact"] in _SERIOUS
    ]
    return [*faults, *([("too wide by", overflow)] if overflow > 0 else [])]
