"""Runs the queries of MAILCTL_USERS_QUERY and MAILCTL_USERS_LIST_QUERY."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError, ProgrammingError

from mailctl.errors import ConfigurationError
from mailctl.settings.credential_masking import mask_credentials
from mailctl.users.screening import eligibility_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, CursorResult, Row

QUERY_SETTING = "MAILCTL_USERS_QUERY"
LIST_QUERY_SETTING = "MAILCTL_USERS_LIST_QUERY"
#: The columns of a user that mailctl reads.
USER_COLUMNS = ("id", "email", "username", "first_name")
_QUERY_FIX = 'Correct the query; names that SQL reserves, such as "user" and "order", need double quotes.'
#: The largest integer that databases store.
MAX_BIGINT = 2**63 - 1
#: The error codes of SQLite for a statement that is invalid or would write.
_REFUSED_STATEMENT = frozenset({"SQLITE_ERROR", "SQLITE_READONLY"})


def query_user(connection: Connection, query: str, user_id: str) -> Row[Any] | None:
    """Return the row of a user; None if there is none.

    Raises:
        ConfigurationError: the query is invalid, or returns several rows or not the required columns.
    """
    # SQLAlchemy does not recognise the parameter in `:id::uuid`.
    statement = text(query.replace(":id::", ":id ::"))
    if set(statement.compile().params) != {"id"}:
        raise ConfigurationError(
            f"{QUERY_SETTING} must have the parameter :id and no other.", fix="Add WHERE id = :id"
        )
    for spelling in _spellings(user_id):
        with _translate_query_errors(QUERY_SETTING):
            result = connection.execute(statement, {"id": _bind_value(connection, spelling)})
            require_user_columns(result, QUERY_SETTING)
            rows = result.fetchmany(2)
        if len(rows) > 1:
            raise ConfigurationError(
                f"{QUERY_SETTING} returns several rows for one id.", fix="Add WHERE id = :id"
            )
        if rows:
            return rows[0]
    return None


def _spellings(user_id: str) -> dict[str, None]:
    """Return an id as it was given, and a UUID also as databases without a type for UUIDs store it."""
    parsed = parse_uuid(user_id)
    return dict.fromkeys([user_id] if parsed is None else [user_id, parsed.hex, str(parsed)])


def parse_uuid(user_id: str) -> uuid.UUID | None:
    """Return a user id as a UUID; None if it is not one."""
    try:
        return uuid.UUID(user_id)
    except ValueError:
        return None


def query_all_users(connection: Connection, query: str) -> CursorResult[Any]:
    """Return the rows of all users.

    Raises:
        ConfigurationError: the query is invalid or has a parameter.
    """
    statement = text(query)
    if statement.compile().params:
        raise ConfigurationError(
            f"{LIST_QUERY_SETTING} must have no parameter.", fix="Write a query that returns all users."
        )
    with _translate_query_errors(LIST_QUERY_SETTING):
        return connection.execute(statement)


@contextmanager
def _translate_query_errors(query: str) -> Iterator[None]:
    """Raise the refusal of a statement as an error of its setting."""
    try:
        yield
    except DBAPIError as error:
        if not _is_refused(error):
            raise
        reason = mask_credentials(str(error.orig).splitlines()[0])
        raise ConfigurationError(f"{query} cannot be run: {reason}.", fix=_QUERY_FIX) from error


def require_user_columns(result: CursorResult[Any], query: str) -> None:
    """Check that a query returns the column email, and no column of a user twice.

    Args:
        result: the result of the query.
        query: the name of its setting.

    Raises:
        ConfigurationError: it does not.
    """
    columns = list(result.keys()) if result.returns_rows else []
    if "email" not in columns:
        raise ConfigurationError(f"{query} returns no column email.", fix="Start it with SELECT id, email")
    # After a join of two tables, it is unknown which of the two values is the right one.
    for name in (*USER_COLUMNS, *eligibility_columns(columns)):
        if columns.count(name) > 1:
            raise ConfigurationError(
                f"{query} returns more than one column {name}.",
                fix="Name the columns instead of *.",
            )


def _bind_value(connection: Connection, user_id: str) -> int | str:
    # psycopg sends strings without a type, so that PostgreSQL converts them to the type of the column, while
    # a number would fail for a text column. SQLite converts numbers for text columns, but never strings for
    # numeric expressions.
    is_number = user_id.isascii() and user_id.isdigit() and user_id == str(int(user_id))
    if connection.dialect.name == "sqlite" and is_number and int(user_id) <= MAX_BIGINT:
        return int(user_id)
    return user_id


def _is_refused(error: DBAPIError) -> bool:
    """Whether the database refused the statement itself, not its parameter or the connection."""
    if getattr(error.orig, "sqlite_errorname", None) in _REFUSED_STATEMENT:
        return True
    return isinstance(error, ProgrammingError | InternalError)
