"""Partitions are made before their days come, by whoever finds that they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partitions.layout import KEYS, OTHER, DayRange, read_layout
from mailctl.delivery_log.storage.partitions.locks import is_locked_out, limit_lock_waits, take_turn
from mailctl.domain.email_ids import day_of
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: Emails that were recorded for want of a partition, and are moved while others wait.
MAX_MOVED = 20_000


def create_missing(engine: Engine, *, now: datetime, max_moved: int | None = MAX_MOVED) -> int:
    """Create the partitions of today and of the next days that a partitioned log does not have.

    Emails of those days that were recorded meanwhile are moved there. A partition for which others would have
    to wait too long is left out, and is created by a later call.

    Args:
        now: the current time.
        max_moved: how many emails are moved into a partition at most; with more, it is left out.
            None for any number.

    Returns:
        How many days are covered that were not.

    Raises:
        LogUnavailable: the delivery log cannot be used, or this user may not create tables.
    """
    if engine.dialect.name != "postgresql":
        return 0
    with reading(engine) as connection:
        layout = read_layout(connection)
    missing = layout.missing(day_of(now)) if layout else []
    return sum(_create(engine, days, max_moved=max_moved) for days in missing)


def _create(engine: Engine, days: DayRange, *, max_moved: int | None) -> int:
    try:
        with writing(engine) as connection:
            limit_lock_waits(connection)
            take_turn(connection)
            layout = read_layout(connection)
            if layout is None or layout.has_day(days.first) or _has_more(connection, days, max_moved):
                return 0
            for table in KEYS:
                _create_with_rows(connection, table, days)
    except LogUnavailable as error:
        if is_locked_out(error):
            return 0
        raise
    return days.end - days.first


def _has_more(connection: Connection, days: DayRange, number: int | None) -> bool:
    """Whether more emails than a number were recorded for want of a partition."""
    if number is None:
        return False
    [(table, key), *_] = KEYS.items()
    one = f"SELECT 1 FROM {table}_{OTHER} WHERE {_has_key_of(days, key)} LIMIT 1 OFFSET {number}"
    return connection.execute(text(one)).first() is not None


def _has_key_of(days: DayRange, key: str) -> str:
    first, end = days.bounds
    return f"{key} >= '{first}' AND {key} < '{end}'"


def _create_with_rows(connection: Connection, table: str, days: DayRange) -> None:
    """Create one partition with the rows that were recorded for want of it; no trigger hears of it."""
    other = f"{table}_{OTHER}"
    create_empty(connection, days.table(table), like=table)
    connection.execute(text(f"LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE"))
    taken = f"DELETE FROM {other} WHERE {_has_key_of(days, KEYS[table])} RETURNING *"
    connection.execute(text(f"WITH taken AS ({taken}) INSERT INTO {days.table(table)} SELECT * FROM taken"))
    connection.execute(text(attach_statement(table, days)))


def create_empty(connection: Connection, table: str, *, like: str, options: str = "") -> None:
    """Create a table with the columns of another, without its indexes, which depend on the layout."""
    shape = f"LIKE {like} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE"
    connection.execute(text(f"CREATE TABLE {table} ({shape}) {options}"))


def attach_statement(table: str, days: DayRange) -> str:
    """Return the statement that makes a table a partition."""
    first, end = days.bounds
    return (
        f"ALTER TABLE {table} ATTACH PARTITION {days.table(table)} FOR VALUES FROM ('{first}') TO ('{end}')"
    )
