"""What is repeated prepares its statements on PostgreSQL, where a connection belongs to one client."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, literal, select, text

from mailctl.delivery_log.storage.engine import limit_transactions, open_engine, reading, writing
from mailctl.delivery_log.storage.prepared_statements import repeat_if_refused
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


def reads_beside_a_change(engine: Engine, other: Engine) -> Iterator[Callable[[], list[Any]]]:
    """Yield a transaction again and again, and change the type of what it reads when it is prepared."""

    def read() -> list[Any]:
        with reading(engine) as connection:
            return list(connection.execute(text("SELECT id FROM changed")).all())

    with other.begin() as connection:
        connection.execute(text("CREATE TABLE changed (id varchar(9) PRIMARY KEY)"))
    yield from [read] * (2 * _MANY_USES)
    with other.begin() as connection:
        connection.execute(text('ALTER TABLE changed ALTER id TYPE varchar(9) COLLATE "C"'))
    yield from [read] * _MANY_USES


def threshold_of(engine: Engine) -> int | None:
    """Return after how many executions a connection prepares a statement."""
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        threshold: int | None = driver.prepare_threshold
    return threshold


def threshold_in_the_end(engine: Engine) -> int | None:
    """Return it for a connection that was used often."""
    return [threshold_of(engine) for _ in range(_MANY_USES)][-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", 5), ("?prepare_threshold=none", None), ("?prepare_threshold=0", 1), ("?prepare_threshold=7", 7)],
)
def test_a_worker_prepares_statements_as_the_address_says(
    open_one: Callable[..., Engine], postgres_url: str, options: str, expected: int | None
) -> None:
    """`prepare_threshold` is an option of psycopg's own; without it, a direct connection has 5."""
    assert threshold_in_the_end(open_one(f"{postgres_url}{options}")) == expected


@pytest.mark.parametrize(("options", "expected"), [("", None), ("?prepare_threshold=7", 7)])
def test_another_process_prepares_none_by_itself(
    open_one: Callable[..., Engine], postgres_url: str, options: str, expected: int | None
) -> None:
    """A call of a service would fail where a worker repeats the transaction."""
    assert threshold_in_the_end(open_one(f"{postgres_url}{options}", is_worker=False)) == expected


def test_another_process_prepares_statements_in_transactions_that_are_repeated(
    open_one: Callable[..., Engine], postgres_url: str
) -> None:
    """And in no others, of the same connection."""
    engine = open_one(postgres_url, is_worker=False)
    for _ in range(_MANY_USES):
        repeat_if_refused(lambda: threshold_of(engine))
    assert [repeat_if_refused(lambda: threshold_of(engine)), threshold_of(engine)] == [5, None]


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
def test_no_statement_is_prepared_behind_pgbouncer(
    open_one: Callable[..., Engine], postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It hands the connection to others."""
    with PgBouncer(postgres_server.port) as bouncer:
        assert threshold_in_the_end(open_one(bouncer.through(postgres_url))) is None


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
    engine, fixes = open_one(postgres_url), list[str | None]()
    for read in reads_beside_a_change(engine, open_one(postgres_url, is_worker=False)):
        try:
            read()
        except LogUnavailable as error:
            fixes.append(error.fix)
    assert fixes == ["Try again: its tables have just been changed."]


def test_a_transaction_of_another_process_is_repeated_after_a_column_has_changed(
    open_one: Callable[..., Engine], postgres_url: str
) -> None:
    """Its caller does not see that the server refused a statement."""
    engine, refused = open_one(postgres_url, is_worker=False), list[str]()

    @event.listens_for(engine, "handle_error")
    def _note(context: Any) -> None:
        refused.append(context.original_exception.sqlstate)

    for read in reads_beside_a_change(engine, open_one(postgres_url, is_worker=False)):
        assert repeat_if_refused(read) == []
    assert refused == ["0A000"]


@pytest.mark.parametrize("uses", [0, _MANY_USES])
def test_a_transaction_of_a_worker_that_falls_silent_is_ended_by_the_server(
    open_one: Callable[..., Engine], postgres_url: str, uses: int
) -> None:
    """Whether the server was told for that transaction, or for all of a connection that is used again."""
    engine = open_one(postgres_url)
    query = text("SELECT current_setting('idle_in_transaction_session_timeout')")
    for _ in range(uses):
        with writing(engine):
            pass
    statements = list[str]()

    @event.listens_for(engine, "before_cursor_execute")
    def _note(*arguments: Any) -> None:
        statements.append(arguments[2])

    with writing(engine) as connection:
        assert connection.execute(query).scalar() == "1min"
    assert len([each for each in statements if "idle_in_transaction" in each and "SET" in each]) == (not uses)
