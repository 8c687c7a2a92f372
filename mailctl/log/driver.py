"""The driver itself, for what is done for every email: statements that SQLAlchemy has compiled once.

To prepare a statement and its rows takes SQLAlchemy several times as long as SQLite takes to carry it out.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Select, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

#: Parameters of one statement: SQLite's own limit is 32,766.
_MOST_PARAMETERS = 32_000


class ReadyRows:
    """Rows that only wait to be inserted, all with the same columns; made by any thread, before the lock.

    Args:
        table: where they go.
        rows: their values, by column.
        dialect: of the database.
    """

    def __init__(self, table: Table, rows: Sequence[Mapping[str, Any]], dialect: Dialect) -> None:
        self._insertion = _insertion(table, tuple(rows[0]), dialect) if rows else None
        self._values = self._insertion.values(rows) if self._insertion else []

    def insert(self, connection: Connection) -> None:
        """Insert them in the transaction of a connection.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
        """
        if self._insertion is not None:
            with _cursor(connection, self._insertion.text) as cursor:
                self._insertion.run(cursor, self._values)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in the transaction of a connection, like `ReadyRows`."""
    ReadyRows(table, rows, connection.dialect).insert(connection)


def is_there(connection: Connection, query: Select[Any], parameters: Mapping[str, Any]) -> bool:
    """Whether a query has any rows.

    Args:
        query: made once, with parameters that the driver takes as they are.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses it, as from `Connection.execute`.
    """
    compiled = _compiled(query, connection.dialect)
    with _cursor(connection, compiled.text) as cursor:
        cursor.execute(compiled.text, compiled.in_place(list(map(parameters.__getitem__, compiled.names))))
        return cursor.fetchone() is not None


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """A cursor of the driver's, whose errors come as SQLAlchemy's."""
    dialect, cursor = connection.dialect, None
    #: The class of the driver's errors, which no type names.
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


class _Compiled:
    """A statement in the words of a driver."""

    def __init__(self, compiled: SQLCompiler, names: Sequence[str]) -> None:
        self.text = str(compiled)
        self._is_positional = compiled.positional
        #: Its parameters, in their order where the driver takes them by that.
        self.names = tuple(compiled.positiontup or names)

    def in_place(self, values: Sequence[Any]) -> Any:
        """Return the values of its parameters as the driver takes them."""
        return values if self._is_positional else dict(zip(self.names, values, strict=True))


class _Insertion(_Compiled):
    """An INSERT into certain columns."""

    def __init__(self, table: Table, names: tuple[str, ...], dialect: Dialect) -> None:
        super().__init__(insert(table).inline().compile(dialect=dialect, column_keys=list(names)), names)
        self._run_many = {"sqlite": self._run_at_once, "postgresql": self._copy}.get(
            dialect.name, self._run_each
        )
        self._copy_text = f"COPY {table.name} ({', '.join(self.names)}) FROM STDIN"
        self._columns = len(self.names)
        self._values_of = itemgetter(*self.names)
        processors = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in self.names]
        self._processors = {place: process for place, process in enumerate(processors) if process}

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the values of rows as the driver takes them, one row after the other."""
        flat = list(chain.from_iterable(map(self._values_of, rows)))
        for place, process in self._processors.items():
            flat[place :: self._columns] = map(process, flat[place :: self._columns])
        return flat

    def run(self, cursor: Any, values: list[Any]) -> None:
        """Insert rows, of which there is one at least."""
        if len(values) == self._columns:
            cursor.execute(self.text, self.in_place(values))
        else:
            self._run_many(cursor, values)

    def _run_each(self, cursor: Any, values: list[Any]) -> None:
        cursor.executemany(self.text, [self.in_place(row) for row in self._rows(values)])

    def _copy(self, cursor: Any, values: list[Any]) -> None:
        with cursor.copy(self._copy_text) as copy:
            for row in self._rows(values):
                copy.write_row(row)

    def _rows(self, values: list[Any]) -> Iterator[tuple[Any, ...]]:
        return zip(*[iter(values)] * self._columns, strict=True)

    def _run_at_once(self, cursor: Any, values: list[Any]) -> None:
        """Give SQLite many rows in one statement, so that it works while other threads do."""
        head, _, row = self.text.rpartition(" VALUES ")
        most = _MOST_PARAMETERS // self._columns * self._columns
        for start in range(0, len(values), most):
            some = values[start : start + most]
            cursor.execute(f"{head} VALUES {', '.join([row] * (len(some) // self._columns))}", some)


@lru_cache(maxsize=64)
def _insertion(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Insertion:
    return _Insertion(table, names, dialect)


@lru_cache(maxsize=64)
def _compiled(query: Select[Any], dialect: Dialect) -> _Compiled:
    compiled = query.compile(dialect=dialect)
    return _Compiled(compiled, tuple(compiled.params))
