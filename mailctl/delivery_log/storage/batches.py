"""Many values for one statement, in spite of the limit on parameters: in batches, or as a JSON array."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import JSON, Dialect, String, bindparam, cast, func, select

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement

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
