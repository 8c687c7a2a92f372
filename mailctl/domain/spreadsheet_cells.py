"""Cells of CSV and TSV files that a spreadsheet would run as formulas.

The texts of a cell come from outside: a mail server's reply, an address, the name of a campaign. One that
begins with `=`, `+`, `-` or `@`, also in full width, gets an apostrophe in front, as OWASP advises against
CSV injection; a spreadsheet then shows it as text. mailctl removes the apostrophe again when it reads such
files.
"""

from __future__ import annotations

import re

#: A text that a spreadsheet may run: it removes quotes from the cells of TSV files, and others trim spaces.
_FORMULA = re.compile(r"['\"\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_MARK = "'"


def mark_formula(text: str) -> str:
    """Return the text of a cell, with an apostrophe in front if a spreadsheet would run it."""
    return _MARK + text if _FORMULA.match(text) else text


def unmark_formula(cell: str) -> str:
    """Return the text that `mark_formula` was given; other cells as they are."""
    is_marked = cell.startswith(_MARK) and _FORMULA.match(cell)
    return cell[1:] if is_marked else cell
