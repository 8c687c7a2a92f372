"""The sample service as a process of its own, and what its emails say."""

from __future__ import annotations

import email
import email.policy
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import ScriptedSmtpServer

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def running_service(terminal: Terminal) -> Iterator[httpx.Client]:
    """Run the sample service with the terminal's settings; links lead to it unless these say otherwise."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    terminal.environment = {"FRONTEND_URL": address} | terminal.environment | {"PYTHONPATH": str(ROOT)}
    window = terminal.open(
        terminal.python,
        *("-m", "uvicorn", "tests.service.main:app", "--no-access-log", "--port", str(port)),
        name="service",
    )
    window.wait_until_printed("startup complete")
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client
    assert window.stop() in (0, -15)
    assert "t=" not in window.output


class Mailbox:
    """Where the service's emails arrive: captured files, or a mail server.

    Args:
        server: None for files.
    """

    def __init__(self, terminal: Terminal, server: ScriptedSmtpServer | None) -> None:
        self._folder = terminal.folder / ".mailctl" / "mail"
        self._server = server

    def messages(self, count: int, window: object) -> list[EmailMessage]:
        """Wait until there are so many, and return them, oldest first."""
        from tests.acceptance.terminal import Window

        assert isinstance(window, Window)
        window.wait_until(lambda: len(self._found()) >= count)
        return [email.message_from_bytes(data, policy=email.policy.default) for data in self._found()]

    def _found(self) -> list[bytes]:
        if self._server is not None:
            return [message.data for message in self._server.messages]
        return [file.read_bytes() for file in sorted(self._folder.glob("*.eml"), key=_written_at)]


def _written_at(file: Path) -> int:
    return file.stat().st_mtime_ns


def body(message: EmailMessage, subtype: str) -> str:
    """Return the plain or html part of a message."""
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


def links_in(message: EmailMessage) -> list[str]:
    """Return the links with a token in the plain text."""
    return re.findall(r"https?://\S+[?&]t=\S+", body(message, "plain"))
