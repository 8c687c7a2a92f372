"""The users in the service's own database: found by reflection or by a query, and only ever read."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, func, inspect, select, table, text
from sqlalchemy.exc import DBAPIError, InternalError, ProgrammingError

from mailctl.delivery_log.storage.engine import open_engine, translate_database_errors
from mailctl.delivery_log.storage.sqlite import sqlite_path
from mailctl.delivery_log.storage.urls import mask_url, parse_url
from mailctl.domain.factory import make_user
from mailctl.domain.models import RowProblem, User
from mailctl.domain.validation import validate_address
from mailctl.errors import ConfigurationError, InvalidInput, NotFound, Refused, UserDirectoryUnavailable
from mailctl.redaction import mask_credentials
from mailctl.users.postgresql import read_impossible_times_as_text
from mailctl.users.screening import ExcludedUser, Screening, eligibility_columns, find_exclusion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, CursorResult, Engine, Row
    from sqlalchemy.sql.expression import TableClause
    from sqlalchemy.types import TypeEngine

#: What the delivery log keeps of a user id.
MAX_ID_LENGTH = 64
#: `describe` counts no further: counting all of a large table takes a server too long.
MAX_COUNT = 100_000
#: `describe_eligibility` gives no more reasons, the most frequent ones.
MAX_REASONS = 10
#: Rows that are fetched at a time.
_PAGE = 1000
_SETTING = "DATABASE_URL"
_QUERY = "MAILCTL_USERS_QUERY"
_LIST_QUERY = "MAILCTL_USERS_LIST_QUERY"
#: Seconds that a server has for the next page of a list: it may have to sort all of it first.
_LIST_SECONDS = 60
_COLUMNS = ("id", "email", "username", "first_name")
_EXAMPLE = "SELECT id, email FROM accounts WHERE id = :id"
_MAX_BIGINT = 2**63 - 1
#: What PostgreSQL says to text that is no value of a column's type, and to a number out of its range.
_IMPOSSIBLE_VALUE = frozenset({"22P02", "22003"})
#: What SQLite says to a statement that is wrong, or that would write.
_REFUSED_STATEMENT = frozenset({"SQLITE_ERROR", "SQLITE_READONLY"})


class ServiceUserDirectory:
    """Looks users up in the service's own database.

    Args:
        url: the value of DATABASE_URL; nothing is opened before the first question.
        query: SQL with `:id` that gives one user; without it the table is found by its name.
        list_query: SQL that gives all users; without it they are those of the table.
    """

    def __init__(self, url: str, *, query: str = "", list_query: str = "") -> None:
        self._address = url
        self._query = query
        self._list_query = list_query
        self._table: TableClause | None = None

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with that id; see `Directory.get`."""
        if not 0 < len(user_id) <= MAX_ID_LENGTH or not user_id.isprintable():
            raise InvalidInput("user id", f"is not usable: give 1 to {MAX_ID_LENGTH} printable characters.")
        with self._reading() as connection:
            found = self._find(connection, user_id)
        if found is None:
            where = f"what {_QUERY} finds" if self._query else f"table {self._table}"
            raise NotFound(f"There is no user {user_id} in {where}.", fix=f"Check {_SETTING} or {_QUERY}.")
        if excluded := find_exclusion(found._asdict(), screening, now=datetime.now(UTC)):
            raise Refused(
                f"User {user_id} is not mailed: {excluded.reason}.",
                fix="Give --include-inactive to send the email all the same.",
            )
        return _as_user(found, user_id)

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Go through all users; see `Directory.every`."""
        now = datetime.now(UTC)
        with self._reading() as connection, self._listing(connection) as rows:
            for number, row in enumerate(rows, start=1):
                try:
                    if excluded := find_exclusion(row._asdict(), screening, now=now):
                        yield ExcludedUser(reason=excluded.reason)
                    else:
                        yield _as_user(row, _id_of(row))
                except InvalidInput as error:
                    yield RowProblem(line=number, reason=error.message)

    def has_no_eligibility_columns(self) -> bool:
        """Whether no column says who is deactivated; see `Directory.is_unscreened`."""
        with self._reading() as connection, self._listing(connection) as rows:
            return not eligibility_columns(rows.keys())

    def describe(self) -> str:
        """Return one line that says where users come from; see `Directory.describe`."""
        with self._reading() as connection:
            if self._query:
                # Asked for nobody in particular: what counts is that the database takes the query.
                self._find(connection, "0")
                return f"{_QUERY} in {mask_url(self._engine.url)}"
            users = self._find_table(connection)
            some = select(users.c.id).limit(MAX_COUNT + 1).subquery()
            count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        words = f"more than {MAX_COUNT} users" if count > MAX_COUNT else f"{count} users"
        return f"table {users} in {mask_url(self._engine.url)}, {words}"

    def describe_eligibility(self) -> str:
        """Return one line that says who may be mailed, and by which columns; raises what `get` does."""
        if self._query and not self._list_query:
            return f"{_LIST_QUERY} is not set, so that --all-users cannot be used"
        with self._reading() as connection, self._listing(connection) as rows:
            columns = eligibility_columns(rows.keys())
            now, total, left_out = datetime.now(UTC), 0, Counter[str]()
            for row in islice(rows, MAX_COUNT):
                total += 1
                if excluded := find_exclusion(row._asdict(), Screening.FULL, now=now):
                    left_out[excluded.reason] += 1
        source = f"{_LIST_QUERY} gives" if self._list_query else f"table {self._table} has"
        if not columns:
            return f"{source} no column that says who is deactivated or deleted: all may be mailed"
        first = f"the first {total}" if total == MAX_COUNT else str(total)
        return "; ".join(
            [
                f"{total - left_out.total()} of {first} users may be mailed, by {', '.join(columns)}",
                *(f"{number} left out: {reason}" for reason, number in left_out.most_common(MAX_REASONS)),
            ]
        )

    def close(self) -> None:
        """Close the connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> Engine:
        url = parse_url(self._address, setting=_SETTING)
        engine = open_engine(url, setting=_SETTING, read_only=True)
        if url.get_backend_name() == "postgresql":
            read_impossible_times_as_text(engine)
        return engine

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        url = self._engine.url
        if url.get_backend_name() == "sqlite" and not sqlite_path(url).is_file():
            raise UserDirectoryUnavailable(
                f"The users' database {sqlite_path(url)} does not exist.",
                fix=f"Correct {_SETTING}, or start the service once so that it makes its database.",
            )
        with (
            translate_database_errors(url, what="the users' database", error_class=UserDirectoryUnavailable),
            self._engine.connect() as connection,
        ):
            yield connection

    def _find(self, connection: Connection, user_id: str) -> Row[Any] | None:
        try:
            if self._query:
                return _query_user(connection, self._query, user_id)
            users = self._find_table(connection)
            return connection.execute(
                select(users).where(users.c.id.in_(_stored_forms(users.c.id.type, user_id)))
            ).first()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _IMPOSSIBLE_VALUE:
                return None
            raise

    @contextmanager
    def _listing(self, connection: Connection) -> Iterator[CursorResult[Any]]:
        """Give the rows of all users, some at a time.

        Raises:
            ConfigurationError: they cannot be listed as the settings stand.
        """
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_LIST_SECONDS}s'")
        connection = connection.execution_options(yield_per=_PAGE)
        with closing(self._execute_listing(connection)) as result:
            if self._list_query:
                _require_columns(result, _LIST_QUERY)
            yield result

    def _execute_listing(self, connection: Connection) -> CursorResult[Any]:
        if self._list_query:
            return _query_all_users(connection, self._list_query)
        if self._query:
            raise ConfigurationError(
                f"{_QUERY} finds one user, not all of them.",
                fix=f"Set {_LIST_QUERY}, or give --users-file with their ids.",
            )
        users = self._find_table(connection)
        return connection.execute(select(users).order_by(users.c.id))

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
                names = [*(each for each in _COLUMNS if each in types), *eligibility_columns(types)]
                return table(name, *(_column(each, types[each]) for each in names))
    raise ConfigurationError(
        f"{mask_url(connection.engine.url)} has no table users or user with the columns id and email.",
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


def _query_user(connection: Connection, query: str, user_id: str) -> Row[Any] | None:
    # SQLAlchemy does not see the parameter in `:id::uuid`.
    statement = text(query.replace(":id::", ":id ::"))
    if set(statement.compile().params) != {"id"}:
        raise ConfigurationError(f"{_QUERY} needs the parameter :id and no other.", fix="Add WHERE id = :id")
    with _translate_query_errors(_QUERY):
        result = connection.execute(statement, {"id": _bind_value(connection, user_id)})
        _require_columns(result, _QUERY)
        rows = result.fetchmany(2)
    if len(rows) > 1:
        raise ConfigurationError(f"{_QUERY} gives several rows for one id.", fix="Add WHERE id = :id")
    return rows[0] if rows else None


def _query_all_users(connection: Connection, query: str) -> CursorResult[Any]:
    statement = text(query)
    if statement.compile().params:
        raise ConfigurationError(f"{_LIST_QUERY} takes no parameter.", fix="Let it list all users.")
    with _translate_query_errors(_LIST_QUERY):
        return connection.execute(statement)


@contextmanager
def _translate_query_errors(query: str) -> Iterator[None]:
    """Turn a database's refusal of a statement into one of the setting that holds it."""
    try:
        yield
    except DBAPIError as error:
        if not _is_refused(error):
            raise
        reason = mask_credentials(str(error.orig).splitlines()[0])
        raise ConfigurationError(f"{query} cannot be run: {reason}.", fix="Correct the query.") from error


def _require_columns(result: CursorResult[Any], query: str) -> None:
    columns = list(result.keys()) if result.returns_rows else []
    if "email" not in columns:
        raise ConfigurationError(f"{query} gives no column email.", fix="Begin it with SELECT id, email")
    # As of a join of two tables: nobody knows which of the two values is meant.
    for name in (*_COLUMNS, *eligibility_columns(columns)):
        if columns.count(name) > 1:
            raise ConfigurationError(
                f"{query} gives more than one column {name}.",
                fix="Name the columns that are meant, instead of *.",
            )


def _bind_value(connection: Connection, user_id: str) -> int | str:
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


def _id_of(row: Row[Any]) -> str | None:
    found = row._mapping.get("id")
    return None if found is None else str(found)


def _as_user(row: Row[Any], user_id: str | None) -> User:
    values = row._mapping
    try:
        email = validate_address(values["email"])
    except InvalidInput as error:
        raise InvalidInput(
            f"user {user_id or 'without an id'}",
            f"the stored email address {error.reason}",
            fix="Correct the user's address.",
        ) from None
    stored = _id_of(row) or user_id
    # A UUID is stored in one spelling and may be asked for in another: then the usual one names the user.
    parsed = _uuid(user_id) if user_id is not None and stored != user_id else None
    return make_user(
        id=stored if parsed is None else str(parsed),
        email=email,
        username=values.get("username"),
        first_name=values.get("first_name"),
    )
