"""The sample service with its own tasks, as it is and with mailctl, in a folder of its own."""

from __future__ import annotations

import email
import email.policy
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.terminal import Terminal
from tests.servers import RedisServer, free_port
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import EmailMessage

    from tests.acceptance.terminal import Window

SOURCE = Path(__file__).parent.parent / "service_own_tasks" / "app"
ROOT = SOURCE.parents[2]
#: All that changes in the code of the service.
CHANGES = {"from shop.email_service import EmailService": "from mailctl import EmailService"}
#: What mailctl needs besides the settings that the service has: this mail server has no TLS.
SETTINGS = {"EMAIL_TLS": "none", "DATABASE_URL": "sqlite:///service.db"}


def install(folder: Path, *, has_mailctl: bool) -> None:
    """Copy the service into a folder, as the package `shop`; with mailctl, change what `CHANGES` says."""
    shop = folder / "shop"
    shutil.copytree(SOURCE, shop, ignore=shutil.ignore_patterns("__pycache__"))
    for file in shop.glob("*.py"):
        text = file.read_text().replace("tests.service_own_tasks.app", "shop")
        for before, after in CHANGES.items() if has_mailctl else ():
            text = text.replace(before, after)
        file.write_text(text)


@dataclass(frozen=True)
class Shop:
    """The service with its worker and its mail server."""

    terminal: Terminal
    client: httpx.Client
    worker: Window
    mail_server: ScriptedSmtpServer

    def message(self, address: str, word: str) -> EmailMessage:
        """Wait for the message to an address whose text has a word."""
        self.worker.wait_until(lambda: bool(self._found(address, word)))
        [found] = self._found(address, word)
        return found

    def links(self, address: str, word: str) -> list[str]:
        """Wait for such a message; return the paths, with their queries, that its links lead to."""
        urls = re.findall(r'href="(https://shop\.example/[^"]*t=[^"]+)"', body(self.message(address, word)))
        return list(dict.fromkeys(f"{urlsplit(url).path}?{urlsplit(url).query}" for url in urls))

    def sign_up(self, name: str) -> dict[str, str]:
        """Make an account; return what its user signs in with."""
        account, _ = self.sign_up_with_id(name)
        return account

    def sign_up_with_id(self, name: str) -> tuple[dict[str, str], str]:
        """Make an account; return what its user signs in with, and the user's id."""
        account = {"email": f"{name}@example.com", "username": name, "password": "correct horse"}
        reply = self.client.post("/sign-up", json=account)
        assert reply.status_code == 201
        return {"email": account["email"], "password": account["password"]}, str(reply.json()["id"])

    def call(self, *lines: str) -> None:
        """Run lines of Python in another process, which has imported `asyncio` and `EmailService`."""
        program = "\n".join(("import asyncio", "from mailctl import EmailService", *lines))
        window = self.terminal.open(sys.executable, "-c", program, name="script")
        assert window.wait() == 0, window.output

    def _found(self, address: str, word: str) -> list[EmailMessage]:
        found = [
            email.message_from_bytes(message.data, policy=email.policy.default)
            for message in list(self.mail_server.messages)
            if address in message.recipients
        ]
        return [message for message in found if word in body(message)]


def body(message: EmailMessage, subtype: str = "html") -> str:
    """Return a part of a message."""
    part = message.get_body((subtype,))
    return str(part.get_content()) if part is not None else ""


@contextmanager
def running_shop(
    folder: Path, *, has_mailctl: bool, redis: str, settings: Mapping[str, str] = SETTINGS
) -> Iterator[Shop]:
    """Install the service and run it, with its own worker or, with more settings, with mailctl's."""
    folder.mkdir()
    install(folder, has_mailctl=has_mailctl)
    with ScriptedSmtpServer() as mail_server, Terminal(folder) as terminal:
        terminal.environment["PYTHONPATH"] = f"{folder}:{ROOT}"
        terminal.set(
            DEBUG="False",
            CELERY_BROKER_URL=redis,
            CELERY_RESULT_BACKEND=redis,
            SECRET_KEY="a-secret-key-of-the-service-itself-long-enough",
            PROJECT_NAME="Shop",
            FRONTEND_URL="https://shop.example",
            EMAIL_ENABLED="True",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=mail_server.port,
            EMAIL_FROM_ADDRESS="noreply@shop.example",
            **(settings if has_mailctl else {}),
        )
        port = free_port()
        web = terminal.open(
            sys.executable, "-m", "uvicorn", "shop.main:app", "--port", str(port), name="service"
        )
        web.wait_until_printed("startup complete")
        if has_mailctl:
            worker = terminal.worker("-P", "solo")
        else:
            command = ("-m", "celery", "-A", "shop.celery_app", "worker", "-P", "solo", "-l", "INFO")
            worker = terminal.open(sys.executable, *command, name="worker")
            worker.wait_until_printed("ready.")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            yield Shop(terminal, client, worker, mail_server)


@pytest.fixture(scope="module", params=["before", "after"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Shop]:
    """The service before it adopts mailctl, and after."""
    folder = tmp_path_factory.mktemp("dropin") / request.param
    database = 4 if request.param == "before" else 5
    address = f"{redis_server.url.rpartition('/')[0]}/{database}"
    with running_shop(folder, has_mailctl=request.param == "after", redis=address) as shop:
        yield shop
