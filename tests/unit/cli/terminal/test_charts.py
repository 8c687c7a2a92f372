"""Bars and sparklines."""

from __future__ import annotations

from mailctl.cli.terminal.charts import bar, sparkline


def test_a_bar_is_as_long_as_its_share() -> None:
    """To an eighth of a cell; the smallest share is visible, and a wrong one does not overflow."""
    assert (bar(1, width=4), bar(0.5, width=4), bar(0, width=4)) == ("████", "██", "")
    assert bar(0.0001, width=4) == "▏"
    assert (bar(7, width=4), bar(-1, width=4)) == ("████", "")


def test_a_sparkline_shows_gaps() -> None:
    """Zero is a blank, and the largest value has the full height."""
    assert sparkline([0, 1, 50, 100]) == " ▁▅█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
