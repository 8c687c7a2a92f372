"""Direct use of the driver: rows and values arrive as by SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import PreparedInsert, find_existing, insert_rows, is_empty
from mailctl.delivery_log.storage.tables import foreign_messages

if TYPE_CHECKING:
    from sqlalchemy import Engine

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


def test_existing_values_are_found(engine: Engine) -> None:
    """Among more than one statement takes."""
    with writing(engine) as connection:
        insert_rows(connection, foreign_messages, rows(3))
        wanted = [f"d{n}" for n in range(40_000)]
        assert find_existing(connection, foreign_messages.c.digest, wanted) == {"d0", "d1", "d2"}
        assert find_existing(connection, foreign_messages.c.digest, []) == set()
