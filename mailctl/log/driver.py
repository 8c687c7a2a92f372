"""The driver itself, for what is done for every email: statements that SQLAlchemy has compiled once.

To prepare a statement and its rows takes SQLAlchemy several times as long as SQLite takes to carry it out.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
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


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same columns, in the transaction of a connection.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
    """
    if not rows:
        return
    insertion = _insertion(table, tuple(rows[0]), connection.dialect)
    with _cursor(connection, insertion.text) as cursor:
        insertion.run(cursor, rows)


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
        self._takes_many_rows = dialect.name == "sqlite"
        types = [table.c[name].type.dialect_impl(dialect) for name in self.names]
        processors = [each.bind_processor(dialect) for each in types]
        self._columns = list(zip(self.names, processors, strict=True))

    def run(self, cursor: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        parameters = [self._parameters(row) for row in rows]
        if len(rows) == 1:
            cursor.execute(self.text, parameters[0])
        elif self._takes_many_rows:
            self._run_at_once(cursor, parameters)
        else:
            cursor.executemany(self.text, parameters)

    def _run_at_once(self, cursor: Any, parameters: Sequence[Any]) -> None:
        """Give SQLite many rows in one statement, so that it works while other threads do."""
        head, _, row = self.text.rpartition(" VALUES ")
        most = _MOST_PARAMETERS // len(self._columns)
        for start in range(0, len(parameters), most):
            some = parameters[start : start + most]
            flat = [value for each in some for value in each]
            cursor.execute(f"{head} VALUES {', '.join([row] * len(some))}", flat)

    def _parameters(self, row: Mapping[str, Any]) -> Any:
        return self.in_place(
            [process(row[name]) if process else row[name] for name, process in self._columns]
        )


@lru_cache(maxsize=64)
def _insertion(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Insertion:
    return _Insertion(table, names, dialect)


@lru_cache(maxsize=64)
def _compiled(query: Select[Any], dialect: Dialect) -> _Compiled:
    compiled = query.compile(dialect=dialect)
    return _Compiled(compiled, tuple(compiled.params))
