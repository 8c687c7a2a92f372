"""Text tables: whole rows in a pipe, fitted to the width of a terminal; ids are never cut."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from mailctl.domain.unicode_safety import escape_controls_as_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Cells between two columns.
_GAP = 2
#: Columns up to this many cells are never cut; wider ones share the remaining width.
_MAX_UNCUT_WIDTH = 20
#: A column that is cut keeps at least this many cells, or moves to separate lines.
_MIN_CUT_WIDTH = 20
_INDENT = 2
_ELLIPSIS = "…"
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:%|/[smh]|[smhd]| (?:ms|s|min|h|days))?")


@dataclass(frozen=True, kw_only=True)
class _Column:
    index: int
    name: str
    #: Cells of its widest value or heading.
    natural_width: int
    is_right_aligned: bool
    is_never_cut: bool


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The columns beside each other with their widths, and those on separate lines below the row."""

    beside: list[tuple[_Column, int]]
    below: list[_Column]


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None, colors: dict[str, str]
) -> Iterator[Text]:
    """Yield the lines of a table.

    Numbers are right-aligned. A value that does not fit is cut with an ellipsis; if too little of it would
    remain, it moves to a separate line below its row.

    Args:
        columns: the headings; a column whose heading ends in "id" is never cut.
        rows: the cells of each row, one per column.
        width: cells of the terminal; None for a pipe, where each row is one whole line.
        colors: the style of a cell by its text.
    """
    cells = [[escape_controls_as_line(" ".join(cell.split())) for cell in row] for row in rows]
    described = [_describe(index, name, cells) for index, name in enumerate(columns)]
    layout = _fit(described, width)
    yield _line([Text(column.name, style="bold") for column in described], layout)
    for row in cells:
        yield _line([Text(cell, style=colors.get(cell, "")) for cell in row], layout)
        for column in layout.below:
            if row[column.index]:
                name = f"{column.name}: " if column.name else ""
                below = Text(" " * _INDENT + name + row[column.index], style="dim")
                # The terminal wraps a command, so that it is still one line when it is copied.
                is_command = is_mailctl_command(row[column.index])
                yield from wrap_line(below, width=None if is_command else width, hang=_INDENT)


def is_mailctl_command(text: str) -> bool:
    """Whether a text is a command of mailctl, perhaps with words after it."""
    return text.startswith("mailctl ")


def wrap_line(line: Text, *, width: int | None, hang: int) -> Iterator[Text]:
    """Yield a line wrapped at words, in its style.

    Args:
        width: cells of the terminal; None for a pipe, where the line stays whole.
        hang: the indentation of the continuation lines, in cells.
    """
    if width is None or cell_len(line.plain) <= width:
        yield line
        return
    hang = hang if hang < width - _MIN_CUT_WIDTH else _INDENT
    head, rest = line[:hang], line[hang:]
    room = max(1, width - hang)
    for number, part in enumerate(rest.wrap(Console(width=room), room, overflow="fold")):
        part.rstrip()
        yield (Text(" " * hang, style=line.style) if number else head) + part


def _describe(index: int, name: str, rows: Sequence[Sequence[str]]) -> _Column:
    values = [row[index] for row in rows]
    natural = max([cell_len(name), *(cell_len(value) for value in values)])
    is_id = name.replace("_", " ").split()[-1:] == ["id"]
    filled = [value for value in values if value not in ("", "-")]
    return _Column(
        index=index,
        name=name,
        natural_width=natural,
        is_right_aligned=bool(filled) and not is_id and all(_NUMBER.fullmatch(value) for value in filled),
        is_never_cut=is_id or natural <= _MAX_UNCUT_WIDTH or any(map(is_mailctl_command, values)),
    )


def _fit(columns: Sequence[_Column], width: int | None) -> _Layout:
    if width is None:
        return _Layout(beside=[(column, column.natural_width) for column in columns], below=[])
    room, below = width + _GAP, []
    beside: list[_Column] = []
    for column in columns:
        if column.is_never_cut and (column.natural_width + _GAP <= room or not beside):
            beside.append(column)
            room -= column.natural_width + _GAP
        elif column.is_never_cut:
            below.append(column)
    flexible = [column for column in columns if not column.is_never_cut]
    while flexible and sum(min(column.natural_width, _MIN_CUT_WIDTH) + _GAP for column in flexible) > room:
        below.append(flexible.pop())
    widths = {column.index: column.natural_width for column in beside} | _share_width(flexible, room)
    return _Layout(
        beside=[(column, widths[column.index]) for column in columns if column.index in widths],
        below=sorted(below, key=lambda column: column.index),
    )


def _share_width(columns: Sequence[_Column], room: int) -> dict[int, int]:
    """Divide cells among columns: narrow columns get their natural width, the others equal shares."""
    widths: dict[int, int] = {}
    left = len(columns)
    for column in sorted(columns, key=lambda column: column.natural_width):
        widths[column.index] = min(column.natural_width, room // left - _GAP)
        room -= widths[column.index] + _GAP
        left -= 1
    return widths


def _line(cells: Sequence[Text], layout: _Layout) -> Text:
    line = Text()
    for column, width in layout.beside:
        text, style = cells[column.index].plain, cells[column.index].style
        if cell_len(text) > width:
            text = set_cell_size(text, width - 1).rstrip() + _ELLIPSIS
        padding = " " * (width - cell_len(text))
        if line:
            line.append(" " * _GAP)
        line.append(padding if column.is_right_aligned else "")
        line.append(text, style)
        line.append("" if column.is_right_aligned else padding)
    line.rstrip()
    return line
