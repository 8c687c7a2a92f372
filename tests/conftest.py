"""What tests of every level share: real servers, started once, and a clean place in them for each test."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kombu.transport import memory

from mailctl import runtime
from mailctl.recorder import writer
from mailctl.settings.database_detection import find_database_signs
from tests import tables
from tests.faults import account
from tests.servers import PostgresServer, RabbitServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: By the property of a test's report: the title and the columns of a table.
TABLES = {
    account.PROPERTY: ("faults: what became of every email", account.COLUMNS),
    "hostile": (
        "hostile values: field and door, and what became of them",
        ("field, door", "values", "refused", "sent as meant", "sent without the name", "let in by mistake"),
    ),
    "secrets": (
        "secrets: where each was looked for, with a control that would be found",
        ("secret, place", "characters read", "found", "control found"),
    ),
    "settings": (
        "settings: hostile URLs in every setting, by every command, with and without -v",
        ("setting", "values", "commands", "runs", "characters read", "one sentence, exit 2", "reported"),
    ),
    "true causes": (
        "checks: what was broken, and what each command named as broken",
        ("broken", "health", "monitor", "check-config"),
    ),
    "incidents": (
        "incidents: first cause of `why`, commands until the cause and the fix, first line of `incident`",
        ("incident", "why", "to the cause", "to the fix", "first line of incident"),
    ),
    "envelopes": (
        "envelopes: messages in every shape against a live worker; each recorded, the queue empty",
        ("broker", "named", "generated", "memory at most", "worker"),
    ),
    "own tasks": (
        "own tasks: what became of an email that the mail server accepted, and of one that it refused",
        ("tasks, results, profile, broker", "accepted", "states", "why"),
    ),
    "cases": (
        "fuzz: cases of each parser, and the most that one took",
        ("parser", "cases", "longest, ms", "most memory, KiB"),
    ),
    "replies": (
        "replies: whose fault each known reply is, and where it is public",
        ("provider, stage", "reply", "verdict", "source"),
    ),
    "limits": (
        "limits: a mail server with few sessions or messages a second",
        ("the server allows", "used", "refusals"),
    ),
    "failover": (
        "failover: two mail servers under load, and what they accepted",
        (
            "what fails",
            "emails",
            "by the first",
            "by the second",
            "lost",
            "doubled",
            "in doubt",
            "longest wait of the others, s",
        ),
    ),
    "our faults": (
        "our faults: what became of the emails, and how often it was reported",
        (
            "the mail server says",
            "emails",
            "failed for good",
            "alarms",
            "accepted after the fix",
            "attempts used",
        ),
    ),
    "webhooks": (
        "webhooks: requests that no provider sent",
        ("requests", "tried", "accepted"),
    ),
    "fuzz": (
        "fuzz: random wire messages against a live worker",
        ("log", "messages", "seconds", "sent", "failed", "other", "left on the queue", "worker"),
    ),
}


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, also where a shell has put it all in the background.

    No variable of this machine speaks of a database of a service. The hundreds of processes that tests start
    find the modules compiled: where Python may not keep them, each compiles them all, for a second and more.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in find_database_signs(Path("no such file")):
        del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage among what lives until the end: the modules and the thousands of tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with the tables that tests have noted: the process that reports reads no other conftest."""
    for name, (title, columns) in TABLES.items():
        rows = tables.rows_of(terminalreporter, name)
        if rows:
            terminalreporter.section(title)
            for line in tables.lines(columns, [*rows, *tables.averages(name, rows)]):
                terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _process_of_the_test() -> Iterator[None]:
    """Leave the next test of this process no message, thread, open log, or configured settings and app.

    A runtime that is open before the test belongs to a fixture of its module, which closes it.
    """
    is_of_module = runtime.is_open()
    yield
    writer.close()
    memory.Channel.queues.clear()
    if not is_of_module:
        runtime.close()
        runtime.configure(None)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for the whole session; tests that stop one start their own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis database."""
    client = redis_server.client()
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A RabbitMQ server for the whole session."""
    if not RabbitServer.is_installed():
        pytest.skip("rabbitmq-server is not on PATH")
    with RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer) -> str:
    """The address of an empty virtual host of RabbitMQ."""
    return rabbit_server.make_virtual_host()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    url = postgres_server.make_database()
    yield url
    postgres_server.drop_database(url)
