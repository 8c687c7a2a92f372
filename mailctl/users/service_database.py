"""The user directory of a service: reads users from the service's own database."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.exc import DBAPIError

from mailctl.delivery_log.storage.engine import open_engine, translate_database_errors
from mailctl.delivery_log.storage.sqlite import sqlite_path
from mailctl.delivery_log.storage.urls import mask_url, parse_url
from mailctl.domain.address_validation import validate_address
from mailctl.domain.factory import make_user
from mailctl.domain.models import RowProblem, User
from mailctl.errors import ConfigurationError, InvalidInput, NotFound, Refused, UserDirectoryUnavailable
from mailctl.timefmt import pluralize
from mailctl.users.postgresql import read_impossible_times_as_text
from mailctl.users.screening import ExcludedUser, Screening, eligibility_columns, find_exclusion
from mailctl.users.user_queries import (
    LIST_QUERY_SETTING,
    QUERY_SETTING,
    parse_uuid,
    query_all_users,
    query_user,
    require_user_columns,
)
from mailctl.users.users_table import find_users_table, stored_id_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, CursorResult, Engine, Row
    from sqlalchemy.sql.expression import TableClause

#: The longest user id in the delivery log.
MAX_ID_LENGTH = 64
#: `describe` counts no more users, because counting a large table takes too long.
MAX_COUNT = 100_000
#: The number of reasons that `describe_eligibility` lists, the most frequent ones.
MAX_REASONS = 10
#: The number of rows to fetch at a time.
_PAGE = 1000
_SETTING = "DATABASE_URL"
#: The time limit of a list query in seconds; the server may have to sort the whole table.
_LIST_SECONDS = 60
#: The error codes of PostgreSQL for a value that the type of a column cannot have.
_IMPOSSIBLE_VALUE = frozenset({"22P02", "22003"})


class ServiceUserDirectory:
    """Reads users from the service's own database; it connects at the first use.

    Args:
        url: the value of DATABASE_URL.
        query: SQL with the parameter `:id` that returns one user; "" to find the table by reflection.
        list_query: SQL that returns all users; "" for all rows of the table.
    """

    def __init__(self, url: str, *, query: str = "", list_query: str = "") -> None:
        self._address = url
        self._query = query
        self._list_query = list_query
        self._table: TableClause | None = None

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with an id; see `UserDirectory.get`."""
        if not 0 < len(user_id) <= MAX_ID_LENGTH or not user_id.isprintable():
            raise InvalidInput("user id", f"must be 1 to {MAX_ID_LENGTH} printable characters.")
        with self._reading() as connection:
            found = self._find(connection, user_id)
        if found is None:
            raise self._not_found(user_id)
        if excluded := find_exclusion(found._asdict(), screening, now=datetime.now(UTC)):
            raise Refused(
                f"User {user_id} gets no email: {excluded.reason}.",
                fix="Use --include-inactive to send the email anyway.",
            )
        return _as_user(found, user_id)

    def find_record(self, user_id: str) -> Mapping[str, object]:
        """Return the record of a user by column; see `UserDirectory.find_record`."""
        with self._reading() as connection:
            found = self._find(connection, user_id, all_columns=True)
        if found is None:
            raise self._not_found(user_id)
        return found._asdict()

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Iterate over all users; see `UserDirectory.iter_users`."""
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
        """Whether no column says which users are inactive; see `UserDirectory`."""
        with self._reading() as connection, self._listing(connection) as rows:
            return not eligibility_columns(rows.keys())

    def describe(self) -> str:
        """Return the source and number of users in one line; see `UserDirectory.describe`."""
        with self._reading() as connection:
            if self._query:
                # Any id will do: it only matters whether the database accepts the query.
                self._find(connection, "0")
                return f"{QUERY_SETTING} in {mask_url(self._engine.url)}"
            users = self._find_table(connection)
            some = select(users.c.id).limit(MAX_COUNT + 1).subquery()
            count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        number = f"more than {MAX_COUNT} users" if count > MAX_COUNT else pluralize(count, "user")
        return f"table {users} in {mask_url(self._engine.url)}, {number}"

    def describe_eligibility(self) -> str:
        """Return in one line how many users get email and which columns decide; raises what `get` raises."""
        if self._query and not self._list_query:
            return f"{LIST_QUERY_SETTING} is not set, so --all-users cannot be used"
        with self._reading() as connection, self._listing(connection) as rows:
            columns = eligibility_columns(rows.keys())
            now, total, left_out = datetime.now(UTC), 0, Counter[str]()
            for row in islice(rows, MAX_COUNT):
                total += 1
                if excluded := find_exclusion(row._asdict(), Screening.FULL, now=now):
                    left_out[excluded.reason] += 1
        source = f"{LIST_QUERY_SETTING} returns" if self._list_query else f"table {self._table} has"
        if not columns:
            return f"{source} no column that says which users are inactive or deleted: all users get email"
        first = f"the first {total}" if total == MAX_COUNT else str(total)
        return "; ".join(
            [
                f"{total - left_out.total()} of {first} users get email, by {', '.join(columns)}",
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
                f"The database of users, {sqlite_path(url)}, does not exist.",
                fix=f"Correct {_SETTING}, or start the service once to create its database.",
            )
        with (
            translate_database_errors(
                url, what="the database of users", error_class=UserDirectoryUnavailable
            ),
            self._engine.connect() as connection,
        ):
            yield connection

    def _not_found(self, user_id: str) -> NotFound:
        where = f"the result of {QUERY_SETTING}" if self._query else f"table {self._table}"
        return NotFound(
            f"There is no user {user_id} in {where}.", fix=f"Check {_SETTING} or {QUERY_SETTING}."
        )

    def _find(self, connection: Connection, user_id: str, *, all_columns: bool = False) -> Row[Any] | None:
        try:
            if self._query:
                return query_user(connection, self._query, user_id)
            users = self._find_table(connection)
            columns = select(literal_column("*")).select_from(users) if all_columns else select(users)
            return connection.execute(
                columns.where(users.c.id.in_(stored_id_values(users.c.id.type, user_id)))
            ).first()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _IMPOSSIBLE_VALUE:
                return None
            raise

    @contextmanager
    def _listing(self, connection: Connection) -> Iterator[CursorResult[Any]]:
        """Return the rows of all users, fetched in pages.

        Raises:
            ConfigurationError: the settings do not allow listing them.
        """
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_LIST_SECONDS}s'")
        connection = connection.execution_options(yield_per=_PAGE)
        with closing(self._execute_listing(connection)) as result:
            if self._list_query:
                require_user_columns(result, LIST_QUERY_SETTING)
            yield result

    def _execute_listing(self, connection: Connection) -> CursorResult[Any]:
        if self._list_query:
            return query_all_users(connection, self._list_query)
        if self._query:
            raise ConfigurationError(
                f"{QUERY_SETTING} returns one user, not all of them.",
                fix=f"Set {LIST_QUERY_SETTING}, or use --users-file with their ids.",
            )
        users = self._find_table(connection)
        return connection.execute(select(users).order_by(users.c.id))

    def _find_table(self, connection: Connection) -> TableClause:
        if self._table is None:
            self._table = find_users_table(connection)
        return self._table


def _id_of(row: Row[Any]) -> str | None:
    found = row._mapping.get("id")
    return None if found is None else str(found)


def _as_user(row: Row[Any], user_id: str | None) -> User:
    values = row._mapping
    try:
        email = validate_address(values["email"])
    except InvalidInput as error:
        raise InvalidInput(
            f"the stored email address of user {user_id or 'without an id'}",
            error.reason,
            fix="Correct the address.",
        ) from None
    stored = _id_of(row) or user_id
    # A UUID may be stored in another spelling than the given one; the canonical one is used then.
    parsed = parse_uuid(user_id) if user_id is not None and stored != user_id else None
    return make_user(
        id=stored if parsed is None else str(parsed),
        email=email,
        username=values.get("username"),
        first_name=values.get("first_name"),
    )
