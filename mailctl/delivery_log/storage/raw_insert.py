"""Direct use of the database driver for statements that run for every email, each compiled only once.

SQLAlchemy takes several times as long to prepare a statement and its rows as SQLite takes to execute it.
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
#: The placeholder of each positional `paramstyle` (PEP 249) that does not number its parameters.
_PLACEHOLDERS = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class PreparedInsert:
    """Rows that are ready to be inserted; preparing them needs neither a connection nor a lock.

    Args:
        table: the table of the rows.
        rows: values by column name; all rows have the same columns.
        dialect: the dialect of the database.
    """

    def __init__(self, table: Table, rows: Sequence[Mapping[str, Any]], dialect: Dialect) -> None:
        self._insertion = _insert_statement(table, tuple(rows[0]), dialect) if rows else None
        self._values = self._insertion.values(rows) if self._insertion else []

    def insert(self, connection: Connection) -> None:
        """Insert the rows in the transaction of a connection.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
        """
        if self._insertion is not None:
            with _cursor(connection, self._insertion.sql) as cursor:
                self._insertion.run(cursor, self._values)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in the transaction of a connection; see `PreparedInsert`."""
    PreparedInsert(table, rows, connection.dialect).insert(connection)


def find_existing(connection: Connection, column: Column[str], values: Sequence[str]) -> set[str]:
    """Return which of the values a column contains.

    Raises:
        sqlalchemy.exc.DBAPIError: the query fails, as from `Connection.execute`.
    """
    placeholder = _PLACEHOLDERS.get(connection.dialect.paramstyle)
    if placeholder is None:
        return set(connection.execute(select(column).where(column.in_(values))).scalars())
    found: set[str] = set()
    for start in range(0, len(values), _MAX_PARAMETERS):
        some = values[start : start + _MAX_PARAMETERS]
        text = _existing_values_sql(column, len(some), placeholder)
        with _cursor(connection, text) as cursor:
            cursor.execute(text, some)
            found |= {value for (value,) in cursor.fetchall()}
    return found


def is_empty(connection: Connection, column: Column[str]) -> bool:
    """Whether the table of a column has no rows.

    Raises:
        sqlalchemy.exc.DBAPIError: the query fails, as from `Connection.execute`.
    """
    text = _first_row_sql(column)
    with _cursor(connection, text) as cursor:
        cursor.execute(text)
        return cursor.fetchone() is None


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
        methods = {"pysqlite": self._run_multirow, "aiosqlite": self._run_multirow}
        # The cursor of an asynchronous session has no COPY.
        if dialect.driver == "psycopg" and not dialect.is_async:
            methods["psycopg"] = self._copy
        self._run_many = methods.get(dialect.driver, self._run_executemany)
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
            cursor.execute(self.sql, self._to_parameters(values))
        else:
            self._run_many(cursor, values)

    def _to_parameters(self, row: Sequence[Any]) -> Any:
        return row if self._is_positional else dict(zip(self._names, row, strict=True))

    def _run_executemany(self, cursor: Any, values: list[Any]) -> None:
        cursor.executemany(self.sql, [self._to_parameters(row) for row in self._rows(values)])

    def _copy(self, cursor: Any, values: list[Any]) -> None:
        with cursor.copy(self._copy_text) as copy:
            for row in self._rows(values):
                copy.write_row(row)

    def _rows(self, values: list[Any]) -> Iterator[tuple[Any, ...]]:
        return zip(*[iter(values)] * self._column_count, strict=True)

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


@lru_cache(maxsize=64)
def _existing_values_sql(column: Column[str], count: int, placeholder: str) -> str:
    return f"{select(column)} WHERE {column.name} IN ({', '.join([placeholder] * count)})"


@lru_cache(maxsize=64)
def _first_row_sql(column: Column[str]) -> str:
    return f"{select(column)} LIMIT 1"
