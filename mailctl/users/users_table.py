"""Finds the users table of a service by reflection."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, inspect, table

from mailctl.delivery_log.storage.urls import mask_url
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.users.screening import eligibility_columns
from mailctl.users.user_queries import MAX_BIGINT, QUERY_SETTING, USER_COLUMNS, parse_uuid

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.sql.expression import TableClause
    from sqlalchemy.types import TypeEngine

#: Usual names; the last two are those of Django, and of its project template.
_TABLES = ("users", "user", "auth_user", "users_user")
_TABLE_NAMES = f"{', '.join(_TABLES[:-1])} or {_TABLES[-1]}"
_EXAMPLE_QUERY = "SELECT id, email FROM accounts WHERE id = :id"


def find_users_table(connection: Connection) -> TableClause:
    """Return the table `users` or `user` with the columns that mailctl reads.

    Raises:
        ConfigurationError: the database has no such table with the columns id and email.
    """
    inspector = inspect(connection)
    for name in _TABLES:
        if inspector.has_table(name):
            types = {found["name"]: found["type"] for found in inspector.get_columns(name)}
            if "id" in types and "email" in types:
                names = [*(each for each in USER_COLUMNS if each in types), *eligibility_columns(types)]
                return table(name, *(_column(each, types[each]) for each in names))
    raise ConfigurationError(
        f"{mask_url(connection.engine.url)} has no table {_TABLE_NAMES} with columns id and email.",
        fix=f"Set {QUERY_SETTING}, for example to {_EXAMPLE_QUERY}",
    )


def _column(name: str, kind: TypeEngine[Any]) -> Any:
    return column(name, kind) if _python_type(kind) in (int, str, uuid.UUID) else column(name)


def _python_type(kind: TypeEngine[Any]) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None  # a type of the service that SQLAlchemy knows no Python type for


def stored_id_values(kind: TypeEngine[Any], user_id: str) -> list[object]:
    """Return the values that a column of this type may have for a user id.

    Args:
        kind: the type of the id column.
        user_id: the id as text.

    Raises:
        InvalidInput: a column of this type cannot contain the id.
    """
    python_type = _python_type(kind)
    number = int(user_id) if user_id.isascii() and user_id.isdigit() else None
    if python_type is int:
        if number is None:
            raise InvalidInput("user id", f"must be a number in this database, and {user_id} is not one.")
        return [number] if number <= MAX_BIGINT else []
    parsed = parse_uuid(user_id)
    if python_type is uuid.UUID:
        if parsed is None:
            raise InvalidInput("user id", f"must be a UUID in this database, and {user_id} is not one.")
        return [parsed]
    if python_type is str:
        # SQLAlchemy stores UUIDs as CHAR(32) without hyphens if the database has no type for them.
        return [user_id] if parsed is None else [user_id, parsed.hex, str(parsed)]
    return [user_id if number is None else number]
