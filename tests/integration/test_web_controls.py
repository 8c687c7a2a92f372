"""What comes from outside reorders and controls nothing on the dashboard, in its API and in its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from mailctl import runtime, web
from mailctl.settings import Settings
from tests.hostile.escapes import CONTROLS, ID, WAITING, hostile, plant
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACES = [
    *("/overview", "/emails", "/queues", "/workers", "/stats", "/stats?by=queue", "/stats?by=error"),
    *("/suppressions", "/check-config", "/metrics", "/api/overview", "/api/emails", "/api/queues"),
    *("/api/workers", "/api/stats?by=campaign", "/api/suppressions"),
    *(f"/emails/{ID}", f"/emails/{WAITING}", f"/api/emails/{ID}", f"/api/emails/{ID}/why"),
    *(f"/emails?{name}={quote(hostile(name))}" for name in ("queue", "campaign", "to", "error", "since")),
    *(f"/{quote(hostile('path'))}", f"/emails/{quote(hostile('id'))}", f"/previews/{quote(hostile('k'))}"),
    *(f"/emails?{quote(hostile('parameter'))}=1", f"/login?next={quote(hostile('next'))}"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with a key, of a dashboard whose log has hostile values only."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    plant(folder)
    runtime.close()
    runtime.configure(Settings(mailctl_home=folder / ".mailctl"))
    with serving(web.create_app()) as address:
        key = runtime.current().api_keys.create("operator").plaintext
        with httpx.Client(
            base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=120
        ) as opened:
            yield opened
    runtime.close()
    runtime.configure(None)


@pytest.mark.parametrize("path", PLACES)
def test_no_control_character_is_in_a_page(client: httpx.Client, path: str) -> None:
    """As raw characters they would reorder what an operator reads, and copies into a shell."""
    answer = client.get(path)
    assert answer.status_code < 500
    # A tab is a space in HTML.
    assert not set(CONTROLS.findall(answer.text)) - {"\t"}
    if "json" in answer.headers["content-type"]:
        assert answer.json() is not None
    assert not [value for value in answer.headers.values() if CONTROLS.search(value)]
