"""Every command that reads the delivery log reads one on PostgreSQL, which is stricter with queries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.acceptance.every_command import fill
from tests.every_email import beat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.commands import Mailctl
    from tests.servers import PostgresServer

COMMANDS = [
    *("status {failed}", "why {pending}", "show {pending}", "list", "list --maybe-sent --attempts >2"),
    *("list zoe1@example.com", "errors", "errors --since 1h", "events", "incident", "health", "monitor"),
    *("campaign list", "campaign show spring", "suppress list", "suppress list --reason unsubscribed"),
    *("queue list", "queue peek", "workers list", "workers diff", "metrics", "stats", "stats --by hour"),
    *(f"stats --by {by}" for by in ("kind", "queue", "error", "server", "domain", "provider")),
    *("retry --state failed --dry-run", "cancel --campaign spring --dry-run", "check-config --offline"),
]


@pytest.fixture(scope="module")
def filled_log(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A delivery log with something of everything, and a worker that is alive; its address, and ids in it."""
    url = postgres_server.make_database()
    home = tmp_path_factory.mktemp("home")
    runtime = Runtime(Settings(mailctl_home=home, mailctl_database_url=url))
    try:
        ids = fill(runtime)
        beat(runtime, "w@host", pid=os.getpid(), queues=("celery",))
    finally:
        runtime.close()
    yield url, ids
    postgres_server.drop_database(url)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_on_postgresql_is_read(
    command: str,
    filled_log: tuple[str, dict[str, str]],
    mailctl: Mailctl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a query may do there and not here is a failure of the log, with exit code 5."""
    url, ids = filled_log
    monkeypatch.setenv("MAILCTL_DATABASE_URL", url)
    form = () if command == "metrics" else ("--json",)
    ran = mailctl(*command.format(**ids).split(), *form)
    assert ran.code in (0, 1), ran
    assert "cannot be used" not in ran.out + ran.err
