"""The newest schema in an empty database, created at once rather than by one migration after the other."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

from mailctl.delivery_log.storage.partial_indices import add_partial_indices
from mailctl.delivery_log.storage.rollup_triggers import create_rollup_triggers
from mailctl.delivery_log.storage.tables import log, metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection


def create_schema(connection: Connection, *, version: str, version_table: str) -> None:
    """Create all tables, indices and triggers, the log's id, and the version that Alembic reads.

    A test compares the result with that of the migrations.

    Args:
        connection: one in a transaction, on a database without tables of mailctl.
        version: of the newest migration.
        version_table: where Alembic looks for it.
    """
    add_partial_indices()
    metadata.create_all(connection, checkfirst=False)
    create_rollup_triggers(connection)
    connection.execute(log.insert().values(id=uuid.uuid4().hex))
    versions = Table(
        version_table,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{version_table}_pkc"),
    )
    versions.create(connection)
    connection.execute(versions.insert().values(version_num=version))
