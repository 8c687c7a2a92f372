"""Tables at the end of a test run, also of tests that ran in other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of text, under their columns; the first column to the left."""
    every = [columns, *rows]
    widths = [max(len(row[number]) for row in every) for number in range(len(columns))]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in every
    ]


#: Tables whose numbers are averaged in a last row.
_AVERAGED = frozenset({"incidents"})


def averages(name: str, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the last row of a table: the average of each column of numbers; none for most tables."""
    if name not in _AVERAGED:
        return []
    columns = list(zip(*rows, strict=True))[1:]
    numbers = [[float(cell) for cell in column if cell.isdecimal()] for column in columns]
    cells = [f"{sum(found) / len(found):.1f}" if len(found) == len(rows) else "" for found in numbers]
    return [[f"average of {len(rows)}", *cells]]


def rows_of(reporter: pytest.TerminalReporter, name: str) -> list[tuple[str, ...]]:
    """Return what tests have noted under a property of their reports."""
    return sorted(
        {
            tuple(value)
            for reports in reporter.stats.values()
            for report in reports
            for key, value in getattr(report, "user_properties", ())
            if key == name
        }
    )
