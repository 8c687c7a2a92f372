"""Reads lists of recipients, as CSV or JSON lines: user ids or addresses, names and template variables."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.models import RowProblem
from mailctl.domain.spreadsheet_cells import unmark_formula
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.domain.models import Json

_ID_COLUMNS = ("user_id", "id")
_ADDRESS_COLUMN = "email"
_NAME_COLUMNS = ("name", "first_name")
_RECIPIENT_COLUMNS = (*_ID_COLUMNS, _ADDRESS_COLUMN, *_NAME_COLUMNS)
#: The longest line of JSON, in characters; the variables of an email are shorter, even fully escaped.
_LONGEST_ROW = 1_500_000


@dataclass(frozen=True, kw_only=True)
class RecipientRow:
    """A row of a list of recipients; only its form has been checked."""

    line: int
    user_id: str | None = None
    email: str | None = None
    name: str = ""
    #: The template variables of this row.
    variables: Mapping[str, Json] = field(default_factory=dict)


def read_recipients(data: bytes, *, field: str = "--users-file") -> Iterator[RecipientRow | RowProblem]:
    """Iterate over the rows of a list of recipients.

    The list is read as JSON lines if it starts with a brace or a quoted string, else as CSV, whose first line
    names the columns. `user_id` or `id`, `email`, and `name` or `first_name` describe the recipient; all
    other columns are template variables.

    Args:
        data: the complete list, UTF-8.
        field: the name of the list for error messages.

    Raises:
        InvalidInput: the list is not UTF-8 or not CSV, or its first line names neither an id nor an address.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidInput(field, f"is not UTF-8 text in line {line}.", fix="Save it as UTF-8.") from None
    return _json_rows(text) if _is_json(text) else _csv_rows(text, field=field)


def read_suppression_list(data: bytes, *, field: str) -> tuple[dict[str, str], list[RowProblem]]:
    """Return the addresses of a list, each with its reason, and the rows that cannot be used.

    Args:
        data: the complete list, UTF-8, in the form of a list of recipients.
        field: the name of the list for error messages.

    Raises:
        InvalidInput: the list cannot be read (see `read_recipients`), or it has no row.
    """
    reasons: dict[str, str] = {}
    problems: list[RowProblem] = []
    for row in read_recipients(data, field=field):
        if isinstance(row, RowProblem):
            problems.append(row)
            continue
        try:
            address = validate_address(row.email or "").lower()
        except InvalidInput as error:
            problems.append(RowProblem(line=row.line, reason=error.message))
        else:
            reasons.setdefault(address, str(row.variables.get("reason", "")))
    if not reasons and not problems:
        raise InvalidInput(field, "contains no address.", fix="Check the list.")
    return reasons, problems


def _is_json(text: str) -> bool:
    first_line = text.lstrip().partition("\n")[0].strip()
    if not first_line.startswith('"') or len(first_line) > _LONGEST_ROW:
        return first_line.startswith("{")
    # Spreadsheets also quote column names.
    try:
        return json.loads(first_line) not in (*_ID_COLUMNS, _ADDRESS_COLUMN)
    except ValueError:
        return False


def _json_rows(text: str) -> Iterator[RecipientRow | RowProblem]:
    for line, words in enumerate(text.split("\n"), start=1):
        if not words.strip():
            continue
        if len(words) > _LONGEST_ROW:
            yield RowProblem(line=line, reason=f"the row is longer than {_LONGEST_ROW} characters.")
            continue
        try:
            row = json.loads(words)
        except (ValueError, RecursionError):
            yield RowProblem(line=line, reason="the row is not JSON.")
            continue
        if isinstance(row, str):
            row = {_ADDRESS_COLUMN if "@" in row else _ID_COLUMNS[0]: row}
        if isinstance(row, dict):
            yield _recipient(line, row)
        else:
            yield RowProblem(line=line, reason="the row is not an object.")


def _csv_rows(text: str, *, field: str) -> Iterator[RecipientRow | RowProblem]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        names = [name.strip() for name in next(reader, [])]
        if not text.strip():
            raise InvalidInput(field, "is empty.", fix="Start it with a line such as: email,name")
        if not {*_ID_COLUMNS, _ADDRESS_COLUMN} & set(names):
            raise InvalidInput(
                field,
                "must name the column user_id or email in its first line.",
                fix="Start it with a line such as: email,name",
            )
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) == len(names):
                row = {name: _value(name, cell) for name, cell in zip(names, cells, strict=True)}
                yield _recipient(reader.line_num, row)
            else:
                fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
                reason = f"the row has {fields}, but the first line has {len(names)}."
                yield RowProblem(line=reader.line_num, reason=reason)
    except csv.Error as error:
        reason = f"cannot be read after line {reader.line_num}: {error}."
        raise InvalidInput(field, reason) from error


def _value(column: str, cell: str) -> str:
    # Only spaces: a line break in a cell must reach validation.
    text = cell.strip(" ")
    # Template variables stay as they are: an apostrophe may belong to them.
    return unmark_formula(text) if column in _RECIPIENT_COLUMNS else text


def _recipient(line: int, row: dict[str, Json]) -> RecipientRow | RowProblem:
    user_id = next((row[name] for name in _ID_COLUMNS if row.get(name) not in (None, "")), None)
    email = row.get(_ADDRESS_COLUMN) or None
    name = next((row[name] for name in _NAME_COLUMNS if row.get(name)), "")
    if user_id is None and email is None:
        return RowProblem(line=line, reason="the row names neither a user nor an address.")
    if not isinstance(email, str | None) or not isinstance(name, str):
        return RowProblem(line=line, reason="the row has an address or a name that is not text.")
    try:
        user_id = None if user_id is None else validation.validate_user_id(user_id)
    except InvalidInput as error:
        return RowProblem(line=line, reason=error.message)
    reserved = {*_ID_COLUMNS, _ADDRESS_COLUMN, *_NAME_COLUMNS}
    return RecipientRow(
        line=line,
        user_id=user_id,
        email=email,
        name=name,
        variables={key: value for key, value in row.items() if key not in reserved},
    )
