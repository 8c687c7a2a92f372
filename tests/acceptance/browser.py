"""A real browser without a window: Debian's Chromium, driven over its own DevTools."""

from __future__ import annotations

import base64
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.remote.webelement import WebElement

#: Seconds that a page may take.
PATIENCE = 120
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
)
_BEFORE_RELOAD = "window.mailctlOldPage = true"


class Browser:
    """One browser with one page.

    Args:
        driver: what drives it.
    """

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return self._one("body").text

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self._driver.get(address)

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._one(selector).send_keys(text)

    def press(self, keys: str) -> None:
        """Type without having chosen a field."""
        self._one("body").send_keys(keys)

    def click(self, selector: str) -> None:
        """Click something that leads to another page, and wait for that page."""
        self.run(_BEFORE_RELOAD)
        self._one(selector).click()
        self._wait_for_new_page()

    def click_focused(self) -> None:
        """Press Enter on what has the focus and leads to another page, and wait for that page."""
        self.run(_BEFORE_RELOAD)
        self._driver.switch_to.active_element.send_keys(Keys.ENTER)
        self._wait_for_new_page()

    def text_in_frame(self) -> str:
        """Return what a person reads in the frame of the page."""
        self._driver.switch_to.frame(0)
        text = self.text
        self._driver.switch_to.default_content()
        return text

    def click_in_frame(self, selector: str) -> None:
        """Click something in the frame of the page."""
        self._driver.switch_to.frame(0)
        self._one(selector).click()
        self._driver.switch_to.default_content()

    def evaluate(self, script: str) -> None:
        """Run a script that the page's own policy would not let in."""
        self._driver.execute_cdp_cmd("Runtime.evaluate", {"expression": script})

    def complaints(self) -> list[str]:
        """Return what the console has to say of the pages so far."""
        return [
            entry["message"] for entry in self._driver.get_log("browser") if " 404 " not in entry["message"]
        ]

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return its value."""
        return self._driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: object) -> Any:
        """Run a script that calls back with its value."""
        return self._driver.execute_async_script(script, *arguments)

    def wait_until(self, condition: Any) -> None:
        """Wait until a condition holds."""
        WebDriverWait(self._driver, PATIENCE, poll_frequency=0.05).until(lambda _: condition())

    def look(self, *, width: int, dark: bool) -> None:
        """Be so wide, and light or dark."""
        self._driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def keep(self, folder: str, name: str, *, width: int, dark: bool) -> None:
        """Write a picture of the whole page into a folder, if there is one to write to."""
        if folder:
            words = "".join(c if c.isalnum() else "-" for c in name).strip("-")
            self.photograph(Path(folder) / f"{words}-{width}-{'dark' if dark else 'light'}.png")

    def photograph(self, file: Path) -> None:
        """Write a picture of the whole page."""
        file.parent.mkdir(parents=True, exist_ok=True)
        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(shot["data"]))

    def foreign_requests(self, origin: str) -> list[str]:
        """Return what was asked of the network so far outside an origin."""
        asked = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in asked if each["method"] == _REQUEST]
        return [url for url in urls if url.startswith(("http", "ws")) and not url.startswith(origin)]

    def _wait_for_new_page(self) -> None:
        self.wait_until(
            lambda: self.run("return !window.mailctlOldPage && document.readyState === 'complete'")
        )

    def _one(self, selector: str) -> WebElement:
        return self._driver.find_element(By.CSS_SELECTOR, selector)


_REQUEST = "Network.requestWillBeSent"


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Open a browser that knows nothing; skips the test where there is none.

    Args:
        folder: where its profile goes.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = Chrome(options=options, service=ChromeService(driver))
    try:
        opened.set_page_load_timeout(PATIENCE)
        opened.set_script_timeout(PATIENCE)
        yield Browser(opened)
    finally:
        opened.quit()
