"""Many values for one statement, in spite of the limit on parameters: in batches, or as a JSON array."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import JSON, Dialect, String, TypeDecorator, bindparam, cast, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

#: Values in one statement.
BATCH_SIZE = 500
_T = TypeVar("_T")


def batches(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield the values in order, in batches of at most BATCH_SIZE."""
    for start in range(0, len(values), BATCH_SIZE):
        yield values[start : start + BATCH_SIZE]


def is_listed(column: ColumnElement[str], parameter: str, dialect: Dialect) -> ColumnElement[bool]:
    """Return the condition that a column has one of some texts, however many they are.

    Args:
        column: the column, which should have an index.
        parameter: the name of the bind parameter, whose value is from `as_list`.
        dialect: of the database, SQLite or PostgreSQL.
    """
    given = bindparam(parameter, type_=String)
    is_sqlite = dialect.name == "sqlite"
    each = func.json_each(given) if is_sqlite else func.json_array_elements_text(cast(given, JSON))
    return column.in_(select(each.table_valued("value").c.value))


def as_list(texts: Collection[str]) -> str:
    """Return texts as the value of the parameter of `is_listed`."""
    return json.dumps(list(texts))


class _TextList(TypeDecorator[Any]):
    """Texts, given to a statement of SQLite as a JSON array."""

    impl = String
    cache_ok = True

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return as_list(value)


class _IsAmong(FunctionElement[bool]):
    """The condition of `is_among`."""

    name = "is_among"
    # Not a Boolean, which SQLAlchemy would compare with 1, so that no index would be used.
    inherit_cache = True

    def __init__(self, column: ColumnElement[str], parameter: str) -> None:
        super().__init__(column, bindparam(parameter, type_=_TextList))


@compiles(_IsAmong)
def _compile_is_among(element: _IsAmong, compiler: SQLCompiler, **options: Any) -> str:
    column, given = element.clauses
    if compiler.dialect.name == "sqlite":
        condition = column.in_(select(func.json_each(given).table_valued("value").c.value))
    else:
        condition = column.in_(bindparam(given.key, expanding=True, type_=String))
    return compiler.process(condition, **options)


def is_among(column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    """Return the condition that a column has one of a few texts.

    A statement of SQLite has the same text for any number of them: each connection keeps 128 prepared ones,
    which would be 7 MB in a worker that has claimed and recorded groups of many sizes.

    Args:
        column: the column, which should have an index.
        parameter: the name of the bind parameter, whose value is a list of at most `BATCH_SIZE` texts.
    """
    return _IsAmong(column, parameter)


def json_row_columns(parameter: str, types: Mapping[str, TypeEngine[Any]]) -> dict[str, ColumnElement[Any]]:
    """Return the columns of rows that are given to a statement of SQLite as one value.

    Args:
        parameter: the name of the bind parameter, whose value is from `as_json_rows`.
        types: the types of the columns, by name.
    """
    row = func.json_each(bindparam(parameter, type_=String)).table_valued("value").c.value
    return {
        name: func.json_extract(row, f"$[{index}]", type_=type_)
        for index, (name, type_) in enumerate(types.items())
    }


def as_json_rows(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> str:
    """Return rows as the value of the parameter of `json_row_columns`."""
    values = itemgetter(*names)
    return json.dumps([values(row) for row in rows])
