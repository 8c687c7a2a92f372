"""The copies of the tables in another layout: made as the catalog of the database describes the tables.

So they are right for whatever later versions of the schema have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.partitions.conversion_state import NEW
from mailctl.delivery_log.storage.partitions.creation import attach_statement, create_empty
from mailctl.delivery_log.storage.partitions.layout import HIGH, HORIZON_DAYS, KEYS, LOW, OTHER
from mailctl.domain.email_ids import day_digits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from mailctl.delivery_log.storage.partitions.layout import DayRange

#: A table for a moment, whose column has another collation than in what it was made like.
_SHAPE = "mailctl_conversion_shape"
_INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ (USING .*)$", re.DOTALL)
_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped
"""
_KEY_TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass('{table}') AND attname = '{key}'
"""
#: The name of each index or key, what it is, and its definition.
_INDEXES = """
SELECT relname AS name, contype AS kind, pg_get_constraintdef(pg_constraint.oid) AS key,
    pg_get_indexdef(indexrelid) AS definition
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u')
WHERE indrelid = to_regclass('{table}') ORDER BY relname
"""


def create_copies(connection: Connection, ranges: Sequence[DayRange]) -> None:
    """Create copies without rows and indexes; with partitions for ranges of days if there are any."""
    for table, key in KEYS.items():
        create_empty(connection, _SHAPE, like=table)
        type_ = connection.execute(text(_KEY_TYPE.format(table=table, key=key))).scalar_one()
        # In the order of bytes, whatever the database's is: the days begin ids, and partitions are ranges.
        collation = '"C"' if ranges else '"default"'
        connection.execute(text(f"ALTER TABLE {_SHAPE} ALTER COLUMN {key} TYPE {type_} COLLATE {collation}"))
        options = f"PARTITION BY RANGE ({key})" if ranges else ""
        create_empty(connection, table + NEW, like=_SHAPE, options=options)
        if ranges:
            _create_partitions(connection, table, ranges)
        connection.execute(text(f"DROP TABLE {_SHAPE}"))


def _create_partitions(connection: Connection, table: str, ranges: Sequence[DayRange]) -> None:
    for name, bounds in _bounds_of_others(ranges[0]).items():
        connection.execute(text(f"CREATE TABLE {table}_{name} PARTITION OF {table}{NEW} {bounds}"))
    for days in ranges:
        create_empty(connection, days.table(table), like=_SHAPE)
        attach = attach_statement(table, days).replace(f"ALTER TABLE {table} ", f"ALTER TABLE {table}{NEW} ")
        connection.execute(text(attach))


def _bounds_of_others(first: DayRange) -> dict[str, str]:
    """Return the bounds of the partitions without days.

    A new partition is compared with all rows of `other`, which are few: with most random ids, `low` and
    `high` have them.
    """
    start, end = day_digits(first.first), day_digits(first.first + HORIZON_DAYS)
    return {
        LOW: f"FOR VALUES FROM (MINVALUE) TO ('{start}')",
        HIGH: f"FOR VALUES FROM ('{end}') TO (MAXVALUE)",
        OTHER: "DEFAULT",
    }


def copied_columns(connection: Connection, table: str) -> str:
    """Return the names of the columns of a table, separated by commas."""
    return str(connection.execute(text(_COLUMNS.format(table=table))).scalar_one())


def missing_indexes(connection: Connection) -> list[str]:
    """Return the statements that create the indexes and keys which the copies do not have yet."""
    return [statement for table in KEYS for statement in _missing_of(connection, table)]


def _missing_of(connection: Connection, table: str) -> Iterator[str]:
    copy = table + NEW
    exists = "SELECT to_regclass('{name}') IS NOT NULL"
    if not connection.execute(text(exists.format(name=copy))).scalar():
        return
    for row in connection.execute(text(_INDEXES.format(table=table))).all():
        if connection.execute(text(exists.format(name=row.name + NEW))).scalar():
            continue
        if row.kind == "p":
            key = f"PRIMARY KEY ({_primary_key(connection, table)})"
            yield f"ALTER TABLE {copy} ADD CONSTRAINT {row.name}{NEW} {key}"
        elif row.kind == "u":
            yield f"ALTER TABLE {copy} ADD CONSTRAINT {row.name}{NEW} {row.key}"
        elif match := _INDEX.match(row.definition):
            yield f"CREATE {match[1] or ''}INDEX {row.name}{NEW} ON {copy} {match[2]}"


def _primary_key(connection: Connection, table: str) -> str:
    """Return the columns of the primary key: that of a table with partitions has the column of these, too."""
    is_partitioned = f"SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('{table}{NEW}')"
    return f"seq, {KEYS[table]}" if connection.execute(text(is_partitioned)).scalar() else "seq"
