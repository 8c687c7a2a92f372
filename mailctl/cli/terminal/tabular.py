"""Lists as CSV or TSV, and chosen columns: the fields of the JSON objects, one object a row."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from mailctl.domain.spreadsheet_cells import mark_formula
from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class TableFormat(StrEnum):
    """The formats in which a list is printed."""

    TABLE = "table"  #: for people, fitted to the terminal
    JSON = "json"  #: one object per line
    CSV = "csv"  #: with a header, quoted as RFC 4180 says
    TSV = "tsv"  #: with a header, tabs between the cells


@dataclass(frozen=True, kw_only=True)
class OutputLayout:
    """How a list is printed.

    The names of columns are those of the fields in the JSON objects; a field of an object within one is
    `smtp.code`.
    """

    format: TableFormat = TableFormat.TABLE
    #: The columns in their order; empty means those that the format has by default.
    columns: tuple[str, ...] = ()
    #: The fields that the JSON objects have, so that an empty list has a header, too.
    fields: tuple[str, ...] = ()


def rows_of_objects(
    objects: Iterable[Mapping[str, Any]], layout: OutputLayout
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the columns and the cells of objects.

    Args:
        objects: the JSON objects.
        layout: the columns that are wanted; without any, all fields are columns.

    Raises:
        InvalidInput: no object has one of the columns.
    """
    flat = [dict(_flatten(each)) for each in objects]
    known = _field_names(flat, layout.fields)
    unknown = [name for name in layout.columns if not any(map(partial(_is_within, name), known))]
    if known and unknown:
        raise InvalidInput("--columns", f"{unknown[0]!r} is not a column.", fix=f"Use: {', '.join(known)}.")
    columns = layout.columns or known
    for_people = layout.format is TableFormat.TABLE
    return columns, [[_cell(each.get(name), for_people=for_people) for name in columns] for each in flat]


def format_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, table_format: TableFormat) -> str:
    """Return rows as CSV or TSV, each line with a line feed at its end."""
    stream = io.StringIO()
    if table_format is TableFormat.CSV:
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    else:
        stream.writelines("\t".join(row) + "\n" for row in (columns, *rows))
    return stream.getvalue()


def _field_names(objects: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the fields of objects, including fields that none of the objects has.

    A field that maps names to values has no fixed names; they are read from the objects.
    """
    found = tuple(dict.fromkeys(name for each in objects for name in each))
    known = [
        name for field in fields for name in ([each for each in found if _is_within(each, field)] or [field])
    ]
    others = (name for name in found if not any(_is_within(each, name) for each in known))
    return (*known, *others)


def _is_within(name: str, field: str) -> bool:
    """Whether a name is the name of a field, or of a field nested in it."""
    return name == field or name.startswith(f"{field}.")


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict) and each:
            yield from _flatten(each, f"{prefix}{name}.")
        else:
            yield prefix + name, each


def _cell(value: Any, *, for_people: bool) -> str:
    """Return a value as one line, without control characters, and without formulas if a program reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    if not isinstance(value, str):
        return escape_controls_as_line(json.dumps(value, ensure_ascii=False))
    text = escape_controls_as_line(value)
    return text if for_people else mark_formula(text)
