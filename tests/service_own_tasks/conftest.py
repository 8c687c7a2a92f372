"""A mail server that refuses one domain, and the service in a folder of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.terminal import Terminal, Window
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smtp_conversation import Action, Context

ROOT = Path(__file__).parent.parent.parent
APP = "tests.service_own_tasks.app.celery_app:celery_app"
#: The mail server refuses every recipient of this domain.
REFUSED_DOMAIN = "refused.example"
SECRET_KEY = "a-secret-key-of-the-service-itself-long-enough"


def _refuse(context: Context) -> Action:
    return "550 5.1.1 No such user" if REFUSED_DOMAIN in context.line else None


@pytest.fixture(scope="session")
def mail_server() -> Iterator[ScriptedSmtpServer]:
    """A mail server without TLS for the whole session."""
    with ScriptedSmtpServer({"rcpt": _refuse}) as server:
        yield server


@dataclass(frozen=True)
class Service:
    """The service in a folder of its own: its settings, its worker, and mailctl beside it."""

    terminal: Terminal
    mail_server: ScriptedSmtpServer

    def set(self, **settings: object) -> None:
        """Set what the service and mailctl read from the environment."""
        self.terminal.environment |= {name: str(value) for name, value in settings.items()}

    def own_worker(self) -> Window:
        """Start the service's own Celery worker, which knows nothing of mailctl."""
        options = ("-P", "solo", "-l", "INFO", "--without-mingle", "--without-gossip")  # it is alone
        command = (sys.executable, "-m", "celery", "-A", APP, "worker", *options)
        window = self.terminal.open(*command, name="own", MAILCTL_APP="")
        window.wait_until_printed("ready.")
        return window

    def drain(self, pool: str = "solo") -> Window:
        """Run `mailctl worker --drain` to its end."""
        window = self.terminal.launch_worker("-P", pool, "-c", "1", "--drain")
        assert window.wait() == 0, window.output
        return window

    def run(self, *commands: tuple[str, ...]) -> list[dict[str, Any]]:
        """Run mailctl commands in one process; return what `commands.run` returns of each."""
        done = self.terminal.call("tests.service_own_tasks.commands:run_all", json.dumps(commands))
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    def send(self, *addresses: str) -> list[str]:
        """Send a welcome to each address by `mailctl send`; return the ids."""
        sent = self.run(*(("send", "welcome", "--email", address) for address in addresses))
        return [str(each["objects"][0]["task_id"]) for each in sent]

    def accepted(self, address: str) -> int:
        """Return how often the mail server accepted a message to an address."""
        return sum(address in message.recipients for message in self.mail_server.messages)

    def refused(self, address: str) -> int:
        """Return how often the mail server refused an address."""
        lines = [line for _, who, line in self.mail_server.log if who == "C"]
        return sum(line.upper().startswith("RCPT TO:") and address in line for line in lines)


@pytest.fixture
def service(tmp_path: Path, mail_server: ScriptedSmtpServer) -> Iterator[Service]:
    """The service, in development, with a mail server."""
    folder = tmp_path / "service"
    folder.mkdir()
    with Terminal(folder) as terminal:
        service = Service(terminal, mail_server)
        service.set(
            PYTHONPATH=ROOT,
            MAILCTL_APP=APP,
            SECRET_KEY=SECRET_KEY,
            FRONTEND_URL="https://shop.example",
            EMAIL_ENABLED="True",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=mail_server.port,
            EMAIL_TLS="none",
            EMAIL_FROM_ADDRESS="noreply@shop.example",
            # Waiting for a result counts in leases.
            MAILCTL_LEASE_SECONDS=5,
        )
        yield service
