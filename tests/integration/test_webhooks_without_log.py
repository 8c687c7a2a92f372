"""Webhooks while there is no delivery log: the provider keeps what it has to report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
from fastapi import FastAPI

import mailctl.feedback
from mailctl import runtime
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.settings import Settings
from tests import webhooks
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path


def test_without_the_delivery_log_the_provider_is_asked_to_retry(tmp_path: Path) -> None:
    """503 with the time of the next try; as soon as the log is there, the same request is recorded."""
    secrets = json.dumps({"postmark": webhooks.SHARED_SECRET})
    settings = Settings(MAILCTL_HOME=tmp_path / "none", MAILCTL_WEBHOOK_SECRETS=secrets)
    runtime.configure(settings, access_mode=AccessMode.UPDATE)
    app = FastAPI()
    app.include_router(mailctl.feedback.router, prefix="/mail")
    request = webhooks.make_request("postmark", webhooks.cases("postmark")[0]["payload"])
    with serving(app) as address:
        url = f"{address}/mail/webhooks/postmark"
        headers = {**request.headers, "x-forwarded-proto": "https"}
        down = httpx.post(url, content=request.body, headers=headers, timeout=60)
        runtime.Runtime(settings).close()
        up = httpx.post(url, content=request.body, headers=headers, timeout=60)

    assert (down.status_code, down.headers["retry-after"], up.status_code) == (503, "60", 200)
    assert str(tmp_path) not in down.text  # whoever asks has shown no secret


def test_a_recipient_reads_nothing_about_the_database(tmp_path: Path) -> None:
    """The page for unsubscribing is public, also while there is no delivery log."""
    settings = Settings(
        MAILCTL_HOME=tmp_path / "none", MAILCTL_UNSUBSCRIBE_URL="https://shop.example/mail/unsubscribe"
    )
    runtime.configure(settings, access_mode=AccessMode.UPDATE)
    app = FastAPI()
    app.include_router(mailctl.feedback.router)
    with serving(app) as address:
        page = httpx.get(f"{address}/unsubscribe?t=x", timeout=60)
    assert (page.status_code, "Try again later." in page.text) == (503, True)
    assert str(tmp_path) not in page.text
