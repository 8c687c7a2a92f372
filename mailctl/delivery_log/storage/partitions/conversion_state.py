"""What an unfinished conversion has in the database: the copies, and the tables that tell how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.partitions.layout import KEYS

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: A row for each table that is copied.
STATE_TABLE = "mailctl_conversion"
#: A row for each change of a row that may have been copied already; triggers write it.
CHANGES_TABLE = "mailctl_conversion_changes"
TRIGGER = "mailctl_conversion"
FUNCTION = "mailctl_conversion_note"
#: The ending of the copies, and of their indexes and constraints, until they replace what they copy.
NEW = "_new"


@dataclass(frozen=True, kw_only=True)
class CopyState:
    """How far the copy of one table is."""

    table: str
    #: The days of a partition; None for a table without partitions.
    days: int | None
    #: All rows up to this number have been copied, of those up to `last`, which existed at the beginning.
    copied: int
    last: int


def is_converting(connection: Connection) -> bool:
    """Whether a conversion has begun and not ended."""
    if connection.dialect.name != "postgresql":
        return False
    return connection.execute(text(f"SELECT to_regclass('{STATE_TABLE}')")).scalar() is not None


def read_states(connection: Connection) -> list[CopyState]:
    """Return how far an unfinished conversion is, table by table; nothing if there is none."""
    if not is_converting(connection):
        return []
    rows = connection.execute(text(f"SELECT * FROM {STATE_TABLE} ORDER BY table_name")).all()
    return [CopyState(table=row.table_name, days=row.days, copied=row.copied, last=row.last) for row in rows]


def discard_if_any(connection: Connection) -> None:
    """Drop what an unfinished conversion has made, if there is one."""
    if is_converting(connection):
        discard(connection)


def discard(connection: Connection) -> None:
    """Drop what an unfinished conversion has made; the log stays as it is."""
    for table in KEYS:
        connection.execute(text(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table}"))
        connection.execute(text(f"DROP TABLE IF EXISTS {table}{NEW}"))
    drop_state(connection)


def drop_state(connection: Connection) -> None:
    """Drop the tables that tell how far a conversion is, and the function of its triggers."""
    connection.execute(text(f"DROP TABLE IF EXISTS {STATE_TABLE}, {CHANGES_TABLE}"))
    connection.execute(text(f"DROP FUNCTION IF EXISTS {FUNCTION}"))
