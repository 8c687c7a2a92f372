"""Direct use of the database driver, where SQLAlchemy would take much of the time of a whole call.

It serves what runs once for every email that a service sends, and the rows of campaigns; `python -m
tests.benchmarks statements` measures what it saves. All other statements go through SQLAlchemy.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection, Table
    from sqlalchemy.engine import Dialect

#: Parameters in one statement; SQLite's limit is 32,766.
_MAX_PARAMETERS = 32_000
#: The drivers of mailctl's own engines, each with its placeholder. Sessions of a service may have others.
_PLACEHOLDERS = {"pysqlite": "?", "psycopg": "%s"}


class PreparedInsert:
    """Rows that are ready to be inserted; preparing them needs neither a connection nor a lock.

    Args:
        table: the table of the rows.
        rows: values by column name; all rows have the same columns.
        dialect: the dialect of the database.
    """

    def __init__(self, table: Table, rows: Sequence[Mapping[str, Any]], dialect: Dialect) -> None:
        self._table, self._rows = table, rows
        is_direct = bool(rows) and _can_be_direct(dialect)
        self._sql, self._run = "", None
        if is_direct:
            statement = _insert_statement(table, tuple(rows[0]), dialect)
            self._sql, self._run = statement.sql, statement.prepare(rows)

    def insert(self, connection: Connection) -> None:
        """Insert the rows in the transaction of a connection.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
        """
        if self._run is not None:
            with _cursor(connection, self._sql) as cursor:
                self._run(cursor)
        elif self._rows:
            connection.execute(insert(self._table), self._rows)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in the transaction of a connection; see `PreparedInsert`."""
    PreparedInsert(table, rows, connection.dialect).insert(connection)


def has_value(connection: Connection, column: Column[str], value: str) -> bool:
    """Whether any row has a value in a column.

    Raises:
        sqlalchemy.exc.DBAPIError: the query fails, as from `Connection.execute`.
    """
    if not _can_be_direct(connection.dialect):
        return connection.execute(select(column).where(column == value).limit(1)).first() is not None
    text = f"{_select_sql(column)} WHERE {column.name} = {_PLACEHOLDERS[connection.dialect.driver]} LIMIT 1"
    return _has_row(connection, text, (value,))


def is_empty(connection: Connection, column: Column[str]) -> bool:
    """Whether the table of a column has no rows.

    Raises:
        sqlalchemy.exc.DBAPIError: the query fails, as from `Connection.execute`.
    """
    if not _can_be_direct(connection.dialect):
        return connection.execute(select(column).limit(1)).first() is None
    return not _has_row(connection, f"{_select_sql(column)} LIMIT 1")


def _can_be_direct(dialect: Dialect) -> bool:
    return dialect.driver in _PLACEHOLDERS and not dialect.is_async


def _has_row(connection: Connection, text: str, parameters: Sequence[str] = ()) -> bool:
    with _cursor(connection, text) as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchone() is not None


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """Yield a cursor of the driver; translate its errors to those of SQLAlchemy."""
    dialect, cursor = connection.dialect, None
    #: The base class of the driver's errors, for which there is no type.
    errors: Any = dialect.loaded_dbapi.Error
    try:
        cursor = connection.connection.cursor()
        yield cursor
        cursor.close()
    except errors as error:
        is_lost = dialect.is_disconnect(error, connection.connection, cursor)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            text, None, error, errors, hide_parameters=True, connection_invalidated=is_lost, dialect=dialect
        ) from error


class _InsertStatement:
    """An INSERT into some columns of a table, compiled for a dialect and its driver."""

    def __init__(self, table: Table, names: tuple[str, ...], dialect: Dialect) -> None:
        compiled = insert(table).inline().compile(dialect=dialect, column_keys=list(names))
        self.sql = str(compiled)
        self._is_positional = compiled.positional
        self._names = tuple(compiled.positiontup or names)
        self._is_sqlite = dialect.name == "sqlite"
        self._copy_sql = f"COPY {table.name} ({', '.join(self._names)}) FROM STDIN"
        self._get_values = itemgetter(*self._names)
        types = [table.c[name].type.dialect_impl(dialect) for name in self._names]
        self._processors = [each.bind_processor(dialect) or _unchanged for each in types]

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> Callable[[Any], None]:
        """Return a function that inserts rows, of which there is one at least, with a cursor."""
        columns: list[tuple[Any, ...]] = list(zip(*map(self._get_values, rows), strict=True))
        if len(rows) == 1:
            values = [process(each) for process, [each] in zip(self._processors, columns, strict=True)]
            return partial(self._insert_one, values)
        if self._is_sqlite:
            return partial(_run_all, self._statements(columns))
        processed = [map(process, each) for process, each in zip(self._processors, columns, strict=True)]
        return partial(self._copy, list(zip(*processed, strict=True)))

    def _insert_one(self, values: Sequence[Any], cursor: Any) -> None:
        is_sequence = self._is_positional
        cursor.execute(self.sql, values if is_sequence else dict(zip(self._names, values, strict=True)))

    def _copy(self, rows: Sequence[Sequence[Any]], cursor: Any) -> None:
        with cursor.copy(self._copy_sql) as copy:
            for row in rows:
                copy.write_row(row)

    def _statements(self, columns: Sequence[tuple[Any, ...]]) -> list[tuple[str, list[Any]]]:
        """Return statements that insert many rows each, during which other threads can run Python code.

        What is the same in all rows is bound once, because to bind a value takes as long as to store it.
        """
        head = self.sql.rpartition(" VALUES ")[0]
        are_own = [column.count(column[0]) < len(column) for column in columns]
        are_own[0] |= not any(are_own)
        own: list[list[Any]] = []
        shared: list[Any] = []
        for process, column, is_own in zip(self._processors, columns, are_own, strict=True):
            if is_own:
                own.append(list(map(process, column)))
            else:
                shared.append(process(column[0]))
        rows, room = list(zip(*own, strict=True)), (_MAX_PARAMETERS - len(shared)) // len(own)
        most = 1 << (room.bit_length() - 1)  # a power of two, as all sizes are
        batches = (rows[start : start + most] for start in range(0, len(rows), most))
        return [_padded_insert(head, tuple(are_own), shared, some) for some in batches]


def _unchanged(value: Any) -> Any:
    return value


def _run_all(statements: Sequence[tuple[str, Sequence[Any]]], cursor: Any) -> None:
    for sql, values in statements:
        cursor.execute(sql, values)


def _padded_insert(
    head: str, are_own: tuple[bool, ...], shared: Sequence[Any], rows: Sequence[tuple[Any, ...]]
) -> tuple[str, list[Any]]:
    """Return a statement for some rows and its values; the statement has room for the next power of two.

    So there are few of them. A connection keeps 128 prepared ones, of which one for 50 rows takes 19 kB.

    Args:
        head: as for `_insert_select`.
        are_own: as for `_insert_select`.
        shared: the values of the columns that are the same in all rows.
        rows: the values of the other columns.
    """
    room = 1 << (len(rows) - 1).bit_length()
    unused = (None,) * (sum(are_own) * (room - len(rows)))
    return _insert_select(head, are_own, room), [*shared, *chain.from_iterable(rows), *unused, len(rows)]


@lru_cache(maxsize=64)
def _insert_select(head: str, are_own: tuple[bool, ...], count: int) -> str:
    """Return a statement that inserts rows, of which some columns have the same value in all.

    Args:
        head: its beginning, with the table and the columns.
        are_own: whether each row has a value of its own, by column; the values of other columns come first.
        count: how many rows at most; its last parameter is how many.
    """
    numbers = iter(range(1, len(are_own) + 1))
    selected = ", ".join(f"column{next(numbers)}" if is_own else "?" for is_own in are_own)
    row = f"({', '.join('?' * sum(are_own))})"
    return " ".join([head, "SELECT", selected, "FROM (VALUES", ", ".join([row] * count), ") LIMIT ?"])


@lru_cache(maxsize=64)
def _insert_statement(table: Table, names: tuple[str, ...], dialect: Dialect) -> _InsertStatement:
    return _InsertStatement(table, names, dialect)


@lru_cache(maxsize=16)
def _select_sql(column: Column[str]) -> str:
    return str(select(column))
