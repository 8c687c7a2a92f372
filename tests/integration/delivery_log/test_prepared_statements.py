"""Statements on PostgreSQL are prepared where the connection belongs to one client, and is used for long."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import literal, select, text

from mailctl.delivery_log.storage.engine import open_engine, reading
from mailctl.delivery_log.storage.urls import parse_url
from tests.servers import PgBouncer, PostgresServer

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: Transactions of a process that runs for long.
_MANY_USES = 12


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", 5), ("?prepare_threshold=none", None), ("?prepare_threshold=0", 0), ("?prepare_threshold=7", 7)],
)
def test_statements_are_prepared_as_the_address_says(
    postgres_url: str, options: str, expected: int | None
) -> None:
    """`prepare_threshold` is an option of psycopg's own; a direct connection that is used for long has 5."""
    url = parse_url(f"{postgres_url}{options}", setting="X")
    assert threshold_of(url, uses=_MANY_USES) == expected


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
def test_no_statement_is_prepared_behind_pgbouncer(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It hands the connection to others."""
    with PgBouncer(postgres_server.port) as bouncer:
        url = parse_url(bouncer.through(postgres_url), setting="X")
        assert threshold_of(url, uses=_MANY_USES) is None


def test_a_command_prepares_no_statement(postgres_url: str) -> None:
    """It has too few transactions to gain from that."""
    assert threshold_of(parse_url(postgres_url, setting="X"), uses=3) is None


def test_reading_keeps_the_statements_that_are_prepared(postgres_url: str) -> None:
    """The end of a transaction that only reads is not taken for that of one that has failed."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    try:
        for _ in range(2 * _MANY_USES):
            with reading(engine) as connection:
                connection.execute(select(literal(1)))
        with reading(engine) as connection:
            names = connection.execute(text("SELECT statement FROM pg_prepared_statements")).scalars().all()
        assert any("SELECT $1" in name for name in names)
    finally:
        engine.dispose()


def threshold_of(url: URL, *, uses: int) -> int | None:
    """Return after how many executions a connection prepares a statement, once it was used so often."""
    engine = open_engine(url, setting="X")
    try:
        for _ in range(uses):
            with reading(engine) as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
        threshold: int | None = driver.prepare_threshold
        return threshold
    finally:
        engine.dispose()
