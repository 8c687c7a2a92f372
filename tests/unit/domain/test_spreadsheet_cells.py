"""Cells that no spreadsheet runs."""

from __future__ import annotations

import pytest

from mailctl.domain.spreadsheet_cells import mark_formula, unmark_formula


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+41 44", "-2", "@SUM(A1)", "'=1", "''+a@example.com", '"=1+1"', " =1", "\uff1d1+1", "'\" @x"],
)
def test_a_formula_is_marked(text: str) -> None:
    """And comes back as it was, also if it had an apostrophe of its own."""
    assert mark_formula(text) == f"'{text}"
    assert unmark_formula(f"'{text}") == text


@pytest.mark.parametrize(
    "text", ["", "ada@example.com", "550 5.1.1 no", "'", "'tis", "1=1", '"quoted" =', " "]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    """In both directions."""
    assert mark_formula(text) == text
    assert unmark_formula(text) == text
