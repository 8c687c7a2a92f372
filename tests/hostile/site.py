"""Where hostile values go: one process with a log, a mail server, and every door that takes a value."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl import runtime
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.settings import Settings
from mailctl.worker.delivery import Delivery
from mailctl.worker.event_loop import EventLoopThread

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email
    from tests.smtp_server import AcceptedMessage, ScriptedSmtpServer

ORIGIN = "https://app.example.com"
WORD = re.compile(r"=\?utf-8\?B\?([A-Za-z0-9+/=]*)\?=", re.IGNORECASE)


class Site:
    """One process: its settings are in the environment too, for the command line."""

    def __init__(self, folder: Path, smtp: ScriptedSmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.smtp = smtp
        self.monkeypatch = monkeypatch
        templates = folder / "templates"
        templates.mkdir()
        for ending in ("html", "txt"):
            (templates / f"password-reset.{ending}").write_text("Hello {{ greeting_name }}")
            (templates / f"invoice.{ending}").write_text("{{ number }}")
        self.users_database = folder / "service.db"
        with closing(sqlite3.connect(self.users_database, isolation_level=None)) as database:
            database.execute("CREATE TABLE accounts (id INTEGER, email TEXT, username TEXT, first_name TEXT)")
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in {
            "EMAIL_ENABLED": "True",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(smtp.port),
            "EMAIL_TLS": "none",
            "FRONTEND_URL": ORIGIN,
            "MAILCTL_CATALOG": "tests.hostile.own_kinds",
            "MAILCTL_HOME": str(folder),
            "MAILCTL_TEMPLATES": str(templates),
            "SECRET_KEY": "a-secret-key-for-the-hostile-site-1234567",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        self.settings = Settings.load()
        runtime.configure(self.settings)
        self.runtime = runtime.current()
        self._event_loop = EventLoopThread()
        self._sender = self.runtime.make_sender()
        self.delivery = Delivery(
            self.runtime, event_loop=self._event_loop, sender=self._sender, turn_seconds=60.0
        )
        self._messages = 0

    def close(self) -> None:
        """Close everything."""
        self._event_loop.close(self._sender.close())
        runtime.close()

    def last_seq(self) -> int:
        """Where the log ends now."""
        with self.runtime.engine.connect() as connection:
            return connection.execute(select(func.max(emails.c.seq))).scalar() or 0

    def since(self, seq: int) -> list[Email]:
        """What was recorded since."""
        with self.runtime.engine.connect() as connection:
            ids = connection.execute(select(emails.c.id).where(emails.c.seq > seq)).scalars().all()
        return [self.runtime.history.find(email_id)[0] for email_id in ids]

    def receive(self, kind: Kind, arguments: dict[str, Any], *, task_id: str) -> None:
        """Take a message of another program, as a task does."""
        self.delivery.deliver_message(
            task_id, EmailRequest(kind=kind), arguments, queue="celery", worker="w@host"
        )

    def deliver(self, email: Email) -> AcceptedMessage:
        """Send an email, unless its door did, and return what the mail server got."""
        if email.state is State.PENDING:
            self.delivery.deliver(email.id, worker="w@host")
        now = self.runtime.history.find(email.id)[0]
        assert now.state is State.SENT, (now.state, now.error)
        messages = self.smtp.wait_for(self._messages + 1)[self._messages :]
        self._messages += len(messages)
        [message] = messages
        return message

    def run(self, work: Any) -> Any:
        """Run a coroutine of the service's."""
        return asyncio.run(work)


def header_of(data: bytes, name: str) -> str:
    """Return the value of a header field as its reader sees it, read from the bytes and by nothing clever."""
    [value] = [value for each, value in headers_of(data) if each == name]
    if WORD.search(value):
        value = re.sub(r"\?=\s+=\?", "?==?", value)
        parts = [base64.b64decode(part) for part in WORD.findall(value)]
        head, tail = WORD.split(value)[0], WORD.split(value)[-1]
        return head + b"".join(parts).decode() + tail
    return value


def headers_of(data: bytes) -> list[tuple[str, str]]:
    """Return the header fields as they stand in the bytes, unfolded."""
    head = data.split(b"\r\n\r\n", 1)[0]
    assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n")
    lines = re.sub(r"\r\n(?=[ \t])", "", head.decode("ascii")).split("\r\n")
    return [(line.split(":", 1)[0], line.split(":", 1)[1].removeprefix(" ")) for line in lines]
