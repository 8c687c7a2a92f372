"""`mailctl flower`: a real Flower on a real worker, and nothing in it that lets anybody in."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.celery_client import ask_worker
from tests.acceptance.conftest import SMTP_PASSWORD
from tests.servers import free_port
from tests.smtp_server import Certificates, ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from celery import Celery

    from tests.acceptance.terminal import Terminal

CANARY = "token-canary-7f3a"


def fetch(port: int, path: str) -> str:
    """Return a page; "" while Flower does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def test_arguments_are_not_shown(production: Terminal, certificates: Certificates, client: Celery) -> None:
    """Not of a task that is done nor of one in hand, published by us in full or by another program."""
    slow = ScriptedSmtpServer(
        {"body": [Stall(600)]}, ssl_context=certificates.server, credentials=("app", SMTP_PASSWORD)
    )
    port = free_port()
    with slow:
        production.set(EMAIL_PORT=slow.port, MAILCTL_MESSAGES="full")
        working = production.worker("-c", "2")
        production.environment["FLOWER_UNAUTHENTICATED_API"] = "true"
        flower = production.open(
            production.python, "-m", "mailctl", "flower", "--port", str(port), name="flower"
        )
        flower.wait_until(lambda: "celery@" in fetch(port, "/api/workers?refresh=1"))
        working.wait_until_printed("enabled by remote")  # Flower sees what happens from then on
        ours = production.send("reset", "--email", "zoe@shop.example", MAILCTL_TOKEN=CANARY)
        user = {"id": 7, "username": "max", "email": "max@shop.example", "first_name": "Max"}
        url = f"https://shop.example/reset-password?t={CANARY}"
        theirs = client.send_task("send_password_reset_email_task", args=[user, url]).id
        flower.wait_until(lambda: all(task_id in fetch(port, "/api/tasks") for task_id in (ours, theirs)))
        [worker] = json.loads(fetch(port, "/api/workers"))
        in_hand = f"/api/workers?refresh=1&workername={worker}"
        flower.wait_until(lambda: "(redacted)" in fetch(port, in_hand))
        table = "/tasks/datatable?draw=1&start=0&length=99&order[0][column]=0&columns[0][data]=name"
        paths = (
            "/tasks",
            table,
            "/api/tasks",
            in_hand,
            f"/worker/{worker}",
            *(f"{base}/{task_id}" for base in ("/task", "/api/task/info") for task_id in (ours, theirs)),
        )
        pages = {path: fetch(port, path) for path in paths}
        assert all(pages.values()), {path: len(page) for path, page in pages.items()}
        assert [path for path, page in pages.items() if CANARY in page or "max@shop" in page] == []
        active = ask_worker(client, "active")
        assert CANARY not in str(active)
        assert "(redacted)" in str(active)
        flower.stop()


@pytest.mark.parametrize("arguments", [("--port", "http"), ("--port=http",), ("--port",)])
def test_an_argument_that_flower_cannot_use_is_wrong_usage(
    terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    """One sentence, exit code 2."""
    nowhere = "redis://127.0.0.1:1/0"
    ran = terminal.run("flower", *arguments, CELERY_BROKER_URL=nowhere, CELERY_RESULT_BACKEND=nowhere)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1), ran.err
