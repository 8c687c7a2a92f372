"""The hook for the migrations of a service."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table

from mailctl.alembic import TABLE_PREFIX, include_object
from mailctl.delivery_log.storage.schema_version import VERSION_TABLE
from mailctl.delivery_log.storage.tables import metadata

OURS = Table("mailctl_emails", MetaData(), Column("id", Integer), Index("by_id", "id"))
THEIRS = Table("users", MetaData(), Column("id", Integer), Index("by_id", "id"))


def test_all_tables_have_the_prefix() -> None:
    """The hook knows them by it, so that it also knows those of later versions."""
    assert [name for name in (*metadata.tables, VERSION_TABLE) if not name.startswith(TABLE_PREFIX)] == []


@pytest.mark.parametrize(("table", "expected"), [(OURS, False), (THEIRS, True)], ids=["mailctl", "service"])
def test_tables_in_the_database_are_compared_if_they_are_the_services(table: Table, expected: bool) -> None:
    """With their columns and indexes."""
    assert include_object(table, table.name, "table", True, None) is expected
    assert include_object(table.c.id, "id", "column", True, None) is expected
    [index] = table.indexes
    assert include_object(index, "by_id", "index", True, None) is expected


def test_what_the_models_of_a_service_have_is_compared() -> None:
    """A service may have a table of such a name."""
    assert include_object(OURS, OURS.name, "table", False, None)
    assert include_object(OURS, OURS.name, "table", True, OURS)


def test_objects_without_a_name_or_table_are_compared() -> None:
    """Such as constraints that the database has named itself."""
    assert include_object(object(), None, "unique_constraint", True, None)
