"""Direct use of the database driver, where SQLAlchemy would take much of the time of a whole call.

It serves what runs once for every email that a service sends, and the rows of campaigns; `python -m
tests.benchmarks statements` measures what it saves. All other statements go through SQLAlchemy.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
        self._statement = _insert_statement(table, tuple(rows[0]), dialect) if is_direct else None
        self._values = self._statement.values(rows) if self._statement else []

    def insert(self, connection: Connection) -> None:
        """Insert the rows in the transaction of a connection.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
        """
        if self._statement is not None:
            with _cursor(connection, self._statement.sql) as cursor:
                self._statement.run(cursor, self._values)
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
        self._run_many = self._run_multirow if dialect.name == "sqlite" else self._copy
        self._copy_text = f"COPY {table.name} ({', '.join(self._names)}) FROM STDIN"
        self._column_count = len(self._names)
        self._get_values = itemgetter(*self._names)
        types = [table.c[name].type.dialect_impl(dialect) for name in self._names]
        processors = [each.bind_processor(dialect) for each in types]
        self._processors = {index: process for index, process in enumerate(processors) if process}

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the values of all rows in one list, converted for the driver."""
        flat = list(chain.from_iterable(map(self._get_values, rows)))
        for index, process in self._processors.items():
            flat[index :: self._column_count] = map(process, flat[index :: self._column_count])
        return flat

    def run(self, cursor: Any, values: list[Any]) -> None:
        """Insert the rows of such a list, which must not be empty."""
        if len(values) == self._column_count:
            is_sequence = self._is_positional
            cursor.execute(self.sql, values if is_sequence else dict(zip(self._names, values, strict=True)))
        else:
            self._run_many(cursor, values)

    def _copy(self, cursor: Any, values: list[Any]) -> None:
        with cursor.copy(self._copy_text) as copy:
            for row in zip(*[iter(values)] * self._column_count, strict=True):
                copy.write_row(row)

    def _run_multirow(self, cursor: Any, values: list[Any]) -> None:
        """Insert many rows with one statement, during which other threads can run Python code."""
        head, _, row = self.sql.rpartition(" VALUES ")
        most = _MAX_PARAMETERS // self._column_count * self._column_count
        for start in range(0, len(values), most):
            some = values[start : start + most]
            cursor.execute(f"{head} VALUES {', '.join([row] * (len(some) // self._column_count))}", some)


@lru_cache(maxsize=64)
def _insert_statement(table: Table, names: tuple[str, ...], dialect: Dialect) -> _InsertStatement:
    return _InsertStatement(table, names, dialect)


@lru_cache(maxsize=16)
def _select_sql(column: Column[str]) -> str:
    return str(select(column))
