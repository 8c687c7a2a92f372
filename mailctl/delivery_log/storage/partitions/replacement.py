"""A copy takes the place of its table, with the names, triggers, rights and the sequence of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.partitions.conversion_state import NEW, TRIGGER
from mailctl.delivery_log.storage.tables import feedback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_TRIGGERS = """
SELECT pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = to_regclass('{table}') AND NOT tgisinternal AND tgname <> '{but}'
"""
_SEQUENCE = "SELECT pg_get_serial_sequence('{table}', 'seq')"
_GRANTS = """
SELECT format('GRANT %s ON {table}{new} TO %s', privilege_type,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass('{table}') AND grantee <> relowner
"""
#: The ends of the names of the copy's indexes, of which keys are some.
_NEW_INDEXES = """
SELECT relname, contype IS NOT NULL AS is_key FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u')
WHERE indrelid = to_regclass('{table}')
"""


def replace_by_copy(connection: Connection, table: str) -> None:
    """Drop a table, and give its name to its copy; nobody else may use it meanwhile."""
    copy = table + NEW
    triggers: Sequence[str] = _all(connection, _TRIGGERS.format(table=table, but=TRIGGER))
    [sequence] = _all(connection, _SEQUENCE.format(table=table))
    changes = [
        *_all(connection, _GRANTS.format(table=table, new=NEW)),
        f"ALTER SEQUENCE {sequence} OWNED BY {copy}.seq",
        f"DROP TABLE {table}",
        f"ALTER TABLE {copy} RENAME TO {table}",
    ]
    for statement in changes:
        connection.exec_driver_sql(statement)
    _rename_indexes(connection, table)
    for trigger in triggers:
        connection.exec_driver_sql(trigger)


def set_collation_of_feedback(connection: Connection, *, is_partitioned: bool) -> None:
    """Let the index of the feedback by email have the order of the emails' ids."""
    collation = '"C"' if is_partitioned else '"default"'
    type_ = feedback.c.email_id.type.compile(connection.dialect)
    change = f"ALTER COLUMN email_id TYPE {type_} COLLATE {collation}"
    connection.execute(text(f"ALTER TABLE {feedback.name} {change}"))


def _rename_indexes(connection: Connection, table: str) -> None:
    for row in connection.execute(text(_NEW_INDEXES.format(table=table))).all():
        name = row.relname.removesuffix(NEW)
        what = (
            f"ALTER TABLE {table} RENAME CONSTRAINT {row.relname} TO {name}"
            if row.is_key
            else f"ALTER INDEX {row.relname} RENAME TO {name}"
        )
        connection.execute(text(what))


def _all(connection: Connection, query: str) -> Sequence[str]:
    return connection.execute(text(query)).scalars().all()
