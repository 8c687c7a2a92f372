"""The users in the service's own database: found by reflection or by a query, and only ever read."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, func, inspect, select, table, text
from sqlalchemy.exc import DBAPIError, InternalError, ProgrammingError

from mailctl.errors import ConfigurationError, DirectoryUnavailable, InvalidInput, NotFound
from mailctl.inputs import address
from mailctl.intake import make_user
from mailctl.log.database import open_engine, parse_url, shown, translated
from mailctl.log.sqlite import sqlite_path
from mailctl.message import RowProblem, User

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, Row
    from sqlalchemy.sql.expression import TableClause
    from sqlalchemy.types import TypeEngine

#: What the delivery log keeps of a user id.
MAX_ID = 64
#: `describe` counts no further: counting all of a large table takes a server too long.
MAX_COUNT = 100_000
#: Rows that are fetched at a time.
_PAGE = 1000
_SETTING = "DATABASE_URL"
_QUERY = "MAILCTL_USERS_QUERY"
_COLUMNS = ("id", "email", "username", "first_name")
_EXAMPLE = "SELECT id, email FROM accounts WHERE id = :id"
_MAX_BIGINT = 2**63 - 1
#: What PostgreSQL says to text that is no value of a column's type, and to a number out of its range.
_IMPOSSIBLE_VALUE = frozenset({"22P02", "22003"})
#: What SQLite says to a statement that is wrong, or that would write.
_REFUSED_STATEMENT = frozenset({"SQLITE_ERROR", "SQLITE_READONLY"})


class ServiceDirectory:
    """Looks users up in the service's own database.

    Args:
        url: the value of DATABASE_URL; nothing is opened before the first question.
        query: SQL with `:id` that gives one user; without it the table is found by its name.
    """

    def __init__(self, url: str, *, query: str = "") -> None:
        self._address = url
        self._query = query
        self._table: TableClause | None = None

    def get(self, user_id: str) -> User:
        """Return the user with that id; see `Directory.get`."""
        if not 0 < len(user_id) <= MAX_ID or not user_id.isprintable():
            raise InvalidInput("user id", f"is not usable: give 1 to {MAX_ID} printable characters.")
        with self._reading() as connection:
            found = self._find(connection, user_id)
        if found is None:
            where = f"what {_QUERY} finds" if self._query else f"table {self._table}"
            raise NotFound(f"There is no user {user_id} in {where}.", fix=f"Check {_SETTING} or {_QUERY}.")
        return _as_user(found, user_id)

    def every(self) -> Iterator[User | RowProblem]:
        """Go through all users by id; see `Directory.every`."""
        if self._query:
            raise ConfigurationError(
                f"{_QUERY} finds one user, not all of them.", fix="Give --users-file with their ids."
            )
        with self._reading() as connection:
            users = self._find_table(connection)
            rows = connection.execution_options(yield_per=_PAGE).execute(select(users).order_by(users.c.id))
            for number, row in enumerate(rows, start=1):
                try:
                    yield _as_user(row, str(row.id))
                except InvalidInput as error:
                    yield RowProblem(line=number, reason=error.message)

    def describe(self) -> str:
        """Return one line that says where users come from; see `Directory.describe`."""
        with self._reading() as connection:
            if self._query:
                # Asked for nobody in particular: what counts is that the database takes the query.
                self._find(connection, "0")
                return f"{_QUERY} in {shown(self._engine.url)}"
            users = self._find_table(connection)
            some = select(users.c.id).limit(MAX_COUNT + 1).subquery()
            count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        words = f"more than {MAX_COUNT} users" if count > MAX_COUNT else f"{count} users"
        return f"table {users} in {shown(self._engine.url)}, {words}"

    def close(self) -> None:
        """Close the connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> Engine:
        return open_engine(parse_url(self._address, setting=_SETTING), setting=_SETTING, read_only=True)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        url = self._engine.url
        if url.get_backend_name() == "sqlite" and not sqlite_path(url).is_file():
            raise DirectoryUnavailable(
                f"The users' database {sqlite_path(url)} does not exist.",
                fix=f"Correct {_SETTING}, or start the service once so that it makes its database.",
            )
        with (
            translated(url, what="the users' database", error_class=DirectoryUnavailable),
            self._engine.connect() as connection,
        ):
            yield connection

    def _find(self, connection: Connection, user_id: str) -> Row[Any] | None:
        try:
            if self._query:
                return _ask(connection, self._query, user_id)
            users = self._find_table(connection)
            return connection.execute(
                select(users).where(users.c.id.in_(_stored_forms(users.c.id.type, user_id)))
            ).first()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _IMPOSSIBLE_VALUE:
                return None
            raise

    def _find_table(self, connection: Connection) -> TableClause:
        if self._table is None:
            self._table = _reflect(connection)
        return self._table


def _reflect(connection: Connection) -> TableClause:
    inspector = inspect(connection)
    for name in ("users", "user"):
        if inspector.has_table(name):
            types = {found["name"]: found["type"] for found in inspector.get_columns(name)}
            if "id" in types and "email" in types:
                return table(name, *(_column(each, types[each]) for each in _COLUMNS if each in types))
    raise ConfigurationError(
        f"{shown(connection.engine.url)} has no table users or user with the columns id and email.",
        fix=f"Set {_QUERY}, for example to {_EXAMPLE}",
    )


def _column(name: str, kind: TypeEngine[Any]) -> Any:
    return column(name, kind) if _python_type(kind) in (int, str, uuid.UUID) else column(name)


def _python_type(kind: TypeEngine[Any]) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None


def _stored_forms(kind: TypeEngine[Any], user_id: str) -> list[object]:
    """Return the values that stand for the id in a column of that type."""
    python_type = _python_type(kind)
    number = int(user_id) if user_id.isascii() and user_id.isdigit() else None
    if python_type is int:
        if number is None:
            raise InvalidInput("user id", f"{user_id} is not a number, as the ids of this database are.")
        return [number] if number <= _MAX_BIGINT else []
    parsed = _uuid(user_id)
    if python_type is uuid.UUID:
        if parsed is None:
            raise InvalidInput("user id", f"{user_id} is not a UUID, as the ids of this database are.")
        return [parsed]
    if python_type is str:
        # SQLAlchemy stores a UUID as CHAR(32), without dashes, where the database has no type for it.
        return [user_id] if parsed is None else [user_id, parsed.hex, str(parsed)]
    return [user_id if number is None else number]


def _ask(connection: Connection, query: str, user_id: str) -> Row[Any] | None:
    # SQLAlchemy does not see the parameter in `:id::uuid`.
    statement = text(query.replace(":id::", ":id ::"))
    if set(statement.compile().params) != {"id"}:
        raise ConfigurationError(f"{_QUERY} needs the parameter :id and no other.", fix="Add WHERE id = :id")
    try:
        result = connection.execute(statement, {"id": _bound(connection, user_id)})
        columns, rows = (result.keys(), result.fetchmany(2)) if result.returns_rows else ((), [])
    except DBAPIError as error:
        if not _is_refused(error):
            raise
        reason = str(error.orig).splitlines()[0]
        raise ConfigurationError(f"{_QUERY} cannot be run: {reason}.", fix="Correct the query.") from error
    if "email" not in columns:
        raise ConfigurationError(f"{_QUERY} gives no column email.", fix="Begin it with SELECT id, email")
    if len(rows) > 1:
        raise ConfigurationError(f"{_QUERY} gives several rows for one id.", fix="Add WHERE id = :id")
    return rows[0] if rows else None


def _bound(connection: Connection, user_id: str) -> int | str:
    # PostgreSQL compares a column with values of its own type only, but our driver sends a string without a
    # type and the server takes that of the column: integer, UUID and text all work, and a number would fail
    # on text. SQLite has it the other way round: for an expression, "42" never equals 42, and a number is
    # converted where the column is text.
    is_number = user_id.isascii() and user_id.isdigit() and user_id == str(int(user_id))
    if connection.dialect.name == "sqlite" and is_number and int(user_id) <= _MAX_BIGINT:
        return int(user_id)
    return user_id


def _is_refused(error: DBAPIError) -> bool:
    """Whether the database refused the statement itself, rather than its value or us."""
    if getattr(error.orig, "sqlite_errorname", None) in _REFUSED_STATEMENT:
        return True
    return isinstance(error, ProgrammingError | InternalError)


def _uuid(user_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(user_id)
    except ValueError:
        return None


def _as_user(row: Row[Any], user_id: str) -> User:
    values = row._mapping
    try:
        email = address(values["email"])
    except InvalidInput as error:
        raise InvalidInput(
            f"user {user_id}", f"the stored email address {error.reason}", fix="Correct the user's address."
        ) from None
    stored = str(values.get("id", user_id))
    # A UUID is stored in one spelling and may be asked for in another: then the usual one names the user.
    parsed = _uuid(user_id) if stored != user_id else None
    return make_user(
        id=stored if parsed is None else str(parsed),
        email=email,
        username=values.get("username"),
        first_name=values.get("first_name"),
    )
