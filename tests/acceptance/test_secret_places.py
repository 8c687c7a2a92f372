"""Secrets and places: each secret is looked for in each place, with a control that is there and is found."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from tests.acceptance.celery_client import Listener
from tests.acceptance.conftest import SECRET_KEY, SMTP_PASSWORD
from tests.acceptance.test_secrets import JWT, REDIS_PASSWORD
from tests.smtp_server import Reply

if TYPE_CHECKING:
    from celery import Celery

    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

#: The property of a report that carries a row of the table.
PROPERTY = "secrets"
LINK_SECRETS = ("token", "link", "link, decoded")
ADDRESS = "zoe.canary@example.com"


class Monitor:
    """Reads along with everything that anybody says to Redis."""

    def __init__(self, redis: RedisServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", redis.port), timeout=0.5)
        self._socket.sendall(f"AUTH {redis.password}\r\nMONITOR\r\n".encode())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._data = bytearray()

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    @property
    def text(self) -> str:
        """What was said."""
        return self._data.decode(errors="replace")

    def _read(self) -> None:
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                self._data += self._socket.recv(65536)


def rdb_of(redis: RedisServer) -> str:
    """What Redis writes to its disk, not packed."""
    with redis.client() as connection:
        connection.config_set("rdbcompression", "no")
        connection.save()
        folder, name = (connection.config_get(key)[key] for key in ("dir", "dbfilename"))
        return (Path(folder) / name).read_bytes().decode("latin-1")


def files_of(folder: Path) -> str:
    """The database and its write-ahead log, also what is deleted in them."""
    return "".join(path.read_bytes().decode("latin-1") for path in sorted(folder.glob("mailctl.db*")))


def rows_of(path: Path, table: str) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return repr(database.execute(f"SELECT * FROM {table}").fetchall())


@pytest.mark.parametrize("tokens", ["as-given", "sealed"])
def test_no_secret_is_in_any_place(
    production: Terminal,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
    client: Celery,
    tokens: str,
    record_property: Any,
) -> None:
    """Before the email is sent, and after; only the email itself has the link."""
    production.set(MAILCTL_LINK_TOKENS=tokens)
    home = production.folder / ".mailctl"
    with Monitor(redis) as monitor:
        worker = production.worker("-c", "1", "-l", "DEBUG")
        with Listener(client, lists_processes=True) as listener:
            task_id = production.send("reset", "--email", ADDRESS, "--token-stdin", stdin=JWT + "\n")
            files_before = files_of(home)
            production.wait_for(task_id, "sent")
            listener.wait_for("task-succeeded", task_id)
        with redis.client() as connection:
            connection.set("canary-control", task_id)
        rdb = rdb_of(redis)
    [message] = smtp_server.messages
    [t] = set(re.findall(r"reset-password\?t=([\w%=.-]+)", message.text))
    places = {
        "worker log at DEBUG": (worker.output, task_id),
        "Celery events (Flower)": (repr(listener.events), task_id),
        "Redis MONITOR": (monitor.text, task_id),
        "Redis dump": (rdb, task_id),
        "log: files, while it waits": (files_before, task_id),
        "log: files, once sent": (files_of(home), task_id),
        "log: emails": (rows_of(home / "mailctl.db", "mailctl_emails"), task_id),
        "log: events": (rows_of(home / "mailctl.db", "mailctl_events"), task_id),
        "Celery result": (repr(client.backend.get_task_meta(task_id)), "SUCCESS"),
        "status -v": (production.run("status", task_id, "-v").out, task_id),
        "status --json": (production.run("status", task_id, "--json").out, task_id),
        "list --json": (production.run("list", "--json").out, task_id),
        "check-config": (production.run("check-config", "--json").out, "redis"),
        "process lists": ("".join(listener.processes), "mailctl"),
    }
    secrets = {
        "token": JWT,
        "link": t,
        "link, decoded": unquote(t),
        "EMAIL_HOST_PASSWORD": SMTP_PASSWORD,
        "REDIS_PASSWORD": REDIS_PASSWORD,
        "SECRET_KEY": SECRET_KEY,
    }
    for place, (text, control) in places.items():
        assert control in text, f"{place}: the control is not there, so nothing would be found"
        # The servers of the tests have their passwords in their arguments; mailctl has not.
        looked_for = LINK_SECRETS if place == "process lists" else tuple(secrets)
        found = [name for name in looked_for if secrets[name] in text]
        row = (f"{len(looked_for)} secrets, {place}", str(len(text)), str(len(found)), "yes")
        record_property(PROPERTY, row)
        assert not found, (place, found)
    email = message.text
    assert t in email
    assert not [name for name in secrets if name not in LINK_SECRETS and secrets[name] in email]
    assert (JWT in email) == (tokens == "as-given")
    assert ADDRESS not in worker.output


def test_addresses_are_masked_in_what_the_worker_logs(
    production: Terminal, smtp_server: ScriptedSmtpServer, client: Celery
) -> None:
    """The mail server's reply names the address; the log of the worker and the result do not."""
    smtp_server.script["rcpt"] = [Reply(f"550 5.1.1 <{ADDRESS}>: no such user")]
    worker = production.worker("-c", "1")
    task_id = production.send("welcome", "--email", ADDRESS)
    production.wait_for(task_id, "failed")
    worker.wait_until_printed("z…@example.com")
    assert ADDRESS not in worker.output
    assert ADDRESS not in repr(client.backend.get_task_meta(task_id))
    assert ADDRESS in production.status(task_id)["error"]
