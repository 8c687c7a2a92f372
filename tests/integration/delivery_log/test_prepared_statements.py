"""A worker's statements on PostgreSQL are prepared, where a connection belongs to one client."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import literal, select, text

from mailctl.delivery_log.storage.engine import limit_transactions, open_engine, reading, writing
from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.errors import LogUnavailable
from tests.servers import PgBouncer, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

#: Transactions of a process that runs for long.
_MANY_USES = 12


@pytest.fixture
def open_one() -> Iterator[Callable[..., Engine]]:
    """Opens an engine as a worker does, or as another process."""
    engines: list[Engine] = []

    def open_it(url: str, *, is_worker: bool = True) -> Engine:
        engines.append(open_engine(parse_url(url, setting="X"), setting="X"))
        if is_worker:
            limit_transactions(engines[-1], seconds=60)
        return engines[-1]

    yield open_it
    for engine in engines:
        engine.dispose()


def threshold_of(engine: Engine) -> int | None:
    """Return after how many executions a connection prepares a statement, once it was used often."""
    for _ in range(_MANY_USES):
        with reading(engine) as connection:
            driver: Any = connection.connection.driver_connection
    threshold: int | None = driver.prepare_threshold
    return threshold


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", 5), ("?prepare_threshold=none", None), ("?prepare_threshold=0", 1), ("?prepare_threshold=7", 7)],
)
def test_a_worker_prepares_statements_as_the_address_says(
    open_one: Callable[..., Engine], postgres_url: str, options: str, expected: int | None
) -> None:
    """`prepare_threshold` is an option of psycopg's own; without it, a direct connection has 5."""
    assert threshold_of(open_one(f"{postgres_url}{options}")) == expected


@pytest.mark.parametrize(("options", "expected"), [("", None), ("?prepare_threshold=7", 7)])
def test_another_process_prepares_none_by_itself(
    open_one: Callable[..., Engine], postgres_url: str, options: str, expected: int | None
) -> None:
    """A call of a service would fail where a worker repeats the transaction."""
    assert threshold_of(open_one(f"{postgres_url}{options}", is_worker=False)) == expected


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
def test_no_statement_is_prepared_behind_pgbouncer(
    open_one: Callable[..., Engine], postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It hands the connection to others."""
    with PgBouncer(postgres_server.port) as bouncer:
        assert threshold_of(open_one(bouncer.through(postgres_url))) is None


def test_reading_keeps_the_statements_that_are_prepared(
    open_one: Callable[..., Engine], postgres_url: str
) -> None:
    """The end of a transaction that only reads is not taken for that of one that has failed."""
    engine = open_one(postgres_url)
    for _ in range(2 * _MANY_USES):
        with reading(engine) as connection:
            connection.execute(select(literal(1)))
    with reading(engine) as connection:
        prepared = connection.execute(text("SELECT statement FROM pg_prepared_statements")).scalars().all()
    assert any("SELECT $1" in statement for statement in prepared)


@pytest.mark.parametrize("options", ["", "?prepare_threshold=0", "?prepare_threshold=1"])
def test_the_settings_of_a_transaction_hold_whatever_is_prepared(
    open_one: Callable[..., Engine], postgres_url: str, options: str
) -> None:
    """For that transaction alone; they are several statements in one, which cannot be prepared."""
    engine, names = open_one(f"{postgres_url}{options}"), ("statement_timeout", "synchronous_commit")
    query = text("SELECT name, setting FROM pg_settings WHERE name IN (:first, :second)")
    for _ in range(_MANY_USES):
        with time_limit(5), writing(engine, durable=False) as connection:
            found = dict(connection.execute(query, dict(zip(("first", "second"), names, strict=True))).all())
            assert 0 < int(found["statement_timeout"]) <= 5000
            assert found["synchronous_commit"] == "off"
    with reading(engine) as connection:
        found = dict(connection.execute(query, dict(zip(("first", "second"), names, strict=True))).all())
    assert found == {"statement_timeout": "0", "synchronous_commit": "on"}


def test_a_worker_goes_on_after_a_column_has_changed(
    open_one: Callable[..., Engine], postgres_url: str
) -> None:
    """The server refuses the prepared statement once, and the worker repeats the transaction."""
    engine, other = open_one(postgres_url), open_one(postgres_url, is_worker=False)
    fixes = list[str | None]()
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE changed (id varchar(9) PRIMARY KEY)"))
    for turn in range(3 * _MANY_USES):
        if turn == 2 * _MANY_USES:
            with other.begin() as connection:
                connection.execute(text('ALTER TABLE changed ALTER id TYPE varchar(9) COLLATE "C"'))
        try:
            with reading(engine) as connection:
                connection.execute(text("SELECT id FROM changed")).all()
        except LogUnavailable as error:
            fixes.append(error.fix)
    assert fixes == ["Try again: its tables have just been changed."]
