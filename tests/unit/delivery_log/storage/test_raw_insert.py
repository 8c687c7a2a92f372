"""Direct use of the driver: rows and values arrive as by SQLAlchemy."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import PreparedInsert, has_value, insert_rows, is_empty
from mailctl.delivery_log.storage.tables import foreign_messages, metadata

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows with different keys."""
    return [{"digest": f"d{n}", "rounds": n, "seen_at": AT} for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 12_000])
def test_every_row_is_inserted(engine: Engine, count: int) -> None:
    """None, one, some, and more than one statement takes."""
    with writing(engine) as connection:
        insert_rows(connection, foreign_messages, rows(count))
    with reading(engine) as connection:
        found = connection.execute(select(foreign_messages)).mappings().all()
        assert is_empty(connection, foreign_messages.c.digest) is (count == 0)
    assert sorted(found, key=lambda row: row["rounds"]) == rows(count)


def test_groups_of_many_sizes_are_inserted_by_few_statements(engine: Engine) -> None:
    """A connection of SQLite keeps each statement prepared, and a worker has groups of every size."""
    statements, count = set[str](), 0
    with writing(engine) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(lambda statement: statements.add(statement.partition("VALUES")[2]))
        for size in range(1, 101):
            insert_rows(connection, foreign_messages, rows(count + size)[count:])
            count += size
        driver.set_trace_callback(None)
        assert len(connection.execute(select(foreign_messages)).all()) == count
    assert len({statement.count("(") for statement in statements}) <= len([1, 2, 4, 8, 16, 32, 64, 128])


def test_times_are_stored_in_utc(engine: Engine) -> None:
    """Whatever their time zone is."""
    there = AT.astimezone(timezone(timedelta(hours=5)))
    prepared = PreparedInsert(foreign_messages, [rows(1)[0] | {"seen_at": there}], engine.dialect)
    with writing(engine) as connection:
        prepared.insert(connection)
        assert connection.execute(select(foreign_messages.c.seen_at)).scalar_one() == AT


def test_errors_are_those_of_sqlalchemy(engine: Engine) -> None:
    """Callers know no driver."""
    with engine.begin() as connection, pytest.raises(IntegrityError):
        insert_rows(connection, foreign_messages, [*rows(1), *rows(1)])


def test_a_value_is_found(engine: Engine) -> None:
    """Exactly as it is."""
    with writing(engine) as connection:
        insert_rows(connection, foreign_messages, rows(2))
        found = {
            each: has_value(connection, foreign_messages.c.digest, each) for each in ("d0", "d1", "D1", "d")
        }
    assert found == {"d0": True, "d1": True, "D1": False, "d": False}


def test_drivers_of_a_service_are_used_through_sqlalchemy(tmp_path: Path) -> None:
    """The cursors of an asynchronous driver differ; rows and answers are the same."""

    def use(connection: Connection) -> tuple[list[bool], int]:
        metadata.create_all(connection)
        none = is_empty(connection, foreign_messages.c.digest)
        insert_rows(connection, foreign_messages, rows(1))
        PreparedInsert(foreign_messages, rows(4)[1:], connection.dialect).insert(connection)
        PreparedInsert(foreign_messages, [], connection.dialect).insert(connection)
        has = [has_value(connection, foreign_messages.c.digest, each) for each in ("d3", "d4")]
        is_left_empty = is_empty(connection, foreign_messages.c.digest)
        count = connection.execute(select(func.count()).select_from(foreign_messages)).scalar_one()
        return [none, *has, is_left_empty], count

    async def run() -> tuple[list[bool], int]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}")
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(use)
        finally:
            await engine.dispose()

    assert asyncio.run(run()) == ([True, True, False, False], 4)
