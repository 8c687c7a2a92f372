"""A FastAPI service that calls `EmailService` in its endpoints, with Redis up, down and silent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service(terminal: Terminal, redis: RedisServer) -> Iterator[httpx.Client]:
    """The sample service on Redis, its database shared with the delivery log."""
    file = terminal.folder / "service.db"
    terminal.environment |= {
        "DEBUG": "False",
        "REDIS_URL": redis.url,
        "SECRET_KEY": "a-secret-key-that-is-long-enough-for-this",
        "FRONTEND_URL": "https://shop.example",
        "DATABASE_URL": f"sqlite+aiosqlite:///{file}",
        "MAILCTL_DATABASE_URL": f"sqlite:///{file}",
        "PYTHONPATH": str(ROOT),
    }
    port = free_port()
    window = terminal.open(
        terminal.python, "-m", "uvicorn", "tests.service.main:app", "--port", str(port), name="service"
    )
    window.wait_until_printed("startup complete")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        yield client
    assert window.stop() in (0, -15)


def sign_up(service: httpx.Client, name: str, **more: object) -> httpx.Response:
    """Make an account."""
    return service.post("/sign-up", json={"email": f"{name}@example.com", "username": name, **more})


def test_an_email_goes_out_with_the_transaction(service: httpx.Client, terminal: Terminal) -> None:
    """The user and the email come into being together."""
    terminal.worker("-c", "1")
    response = sign_up(service, "zoe")
    assert response.status_code == 201
    terminal.wait_for(response.json()["task_id"], "captured")
    assert "zoe@example.com" in terminal.run("send", "welcome", "--user-id", "1", "--dry-run").out


def test_a_rollback_sends_nothing(service: httpx.Client, terminal: Terminal, redis: RedisServer) -> None:
    """Neither a row nor a message, whatever the reason."""
    assert sign_up(service, "zoe", fail=True).status_code == 500
    assert sign_up(service, "ada").status_code == 201
    assert sign_up(service, "ada").status_code == 409
    assert terminal.run("worker", "--drain").code == 0
    captured = [file.read_text() for file in (terminal.folder / ".mailctl" / "mail").glob("*.eml")]
    assert len(captured) == 1
    assert "ada@example.com" in captured[0]


@pytest.mark.parametrize("trouble", ["stopped", "frozen"])
def test_requests_are_answered_while_redis_is_away(
    service: httpx.Client, terminal: Terminal, redis: RedisServer, trouble: str
) -> None:
    """And every email goes out when Redis is back."""
    sign_up(service, "zoe")
    service.post("/welcome/1")
    redis.stop() if trouble == "stopped" else redis.freeze()
    ids = [service.post("/welcome/1").json()["task_id"] for _ in range(20)]
    redis.start() if trouble == "stopped" else redis.thaw()
    terminal.worker("-c", "1")
    terminal.wait_for_all(ids, "captured")
