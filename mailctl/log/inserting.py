"""Inserting in a hurry: the driver itself gets a statement that SQLAlchemy has compiled once.

To prepare a row takes SQLAlchemy several times as long as SQLite takes to store it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.engine import Dialect

#: Parameters of one statement: SQLite's own limit is 32,766.
_MOST_PARAMETERS = 32_000


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same columns, in the transaction of a connection.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses them, as from `Connection.execute`.
    """
    if not rows:
        return
    dialect = connection.dialect
    insertion, cursor = _insertion(table, tuple(rows[0]), dialect), None
    try:
        cursor = connection.connection.cursor()
        insertion.run(cursor, rows)
        cursor.close()
    except insertion.errors as error:
        is_lost = dialect.is_disconnect(error, connection.connection, cursor)
        if is_lost:
            connection.invalidate(error)
        raise insertion.translated(error, is_lost=is_lost) from error


class _Insertion:
    """An INSERT into certain columns, in the words of a driver."""

    def __init__(self, table: Table, names: tuple[str, ...], dialect: Dialect) -> None:
        compiled = insert(table).inline().compile(dialect=dialect, column_keys=list(names))
        self._dialect = dialect
        self._text = str(compiled)
        self._is_positional = compiled.positional
        self._takes_many_rows = dialect.name == "sqlite"
        self._names = compiled.positiontup or list(names)
        types = [table.c[name].type.dialect_impl(dialect) for name in self._names]
        processors = [each.bind_processor(dialect) for each in types]
        self._columns = list(zip(self._names, processors, strict=True))
        #: The class of the driver's errors, which no type names.
        self.errors: Any = dialect.loaded_dbapi.Error

    def run(self, cursor: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        parameters = [self._parameters(row) for row in rows]
        if len(rows) == 1:
            cursor.execute(self._text, parameters[0])
        elif self._takes_many_rows:
            self._run_at_once(cursor, parameters)
        else:
            cursor.executemany(self._text, parameters)

    def translated(self, error: Exception, *, is_lost: bool) -> BaseException:
        """Return the driver's error as SQLAlchemy would raise it."""
        return DBAPIError.instance(
            self._text,
            None,
            error,
            self.errors,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=self._dialect,
        )

    def _run_at_once(self, cursor: Any, parameters: Sequence[Any]) -> None:
        """Give SQLite many rows in one statement, so that it works while other threads do."""
        head, _, row = self._text.rpartition(" VALUES ")
        most = _MOST_PARAMETERS // len(self._columns)
        for start in range(0, len(parameters), most):
            some = parameters[start : start + most]
            flat = [value for each in some for value in each]
            cursor.execute(f"{head} VALUES {', '.join([row] * len(some))}", flat)

    def _parameters(self, row: Mapping[str, Any]) -> Any:
        values = [process(row[name]) if process else row[name] for name, process in self._columns]
        return values if self._is_positional else dict(zip(self._names, values, strict=True))


@lru_cache(maxsize=64)
def _insertion(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Insertion:
    return _Insertion(table, names, dialect)
