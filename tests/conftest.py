"""What tests of every level share: real servers, started once, and a clean place in them for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.account import PROPERTY, table
from tests.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with the table of the fault suite: the process that reports reads no other conftest."""
    rows = {
        tuple(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY
    }
    if rows:
        terminalreporter.section("faults: what became of every email")
        for line in table(sorted(rows)):
            terminalreporter.line(line)


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
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    url = postgres_server.make_database()
    yield url
    postgres_server.drop_database(url)
