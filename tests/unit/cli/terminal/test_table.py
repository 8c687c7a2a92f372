"""Tables at every width, and in a pipe."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from mailctl.cli.terminal.table import table_lines

COLUMNS = ["id", "state", "kind", "to", "attempts", "reason"]
LONG = "refused at rcpt: 550 5.1.1 <ada.lovelace@example.com>: Recipient address rejected: User unknown"
ROWS = [
    ["35089f22-0a5f-49b1-b83c-0ce6851cc246", "failed", "verification", "ada@example.com", "1", LONG],
    ["5a1b0cde-0000-49b1-b83c-0ce6851cc246", "sent", "reset", "名前@example.com", "12", ""],
    ["7c2d1def-1111-49b1-b83c-0ce6851cc246", "held", "reset", "a" * 64 + "@long.example", "3", "line\nbreak"],
]


def lines(width: int | None) -> list[str]:
    """Return the lines of the table as they are printed."""
    return [line.plain for line in table_lines(COLUMNS, ROWS, width=width, colors={})]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Counted in cells: a character may take two. Ids are whole all the same."""
    printed = lines(width)
    assert max(cell_len(line) for line in printed) <= width
    assert [row[0] for row in ROWS] == [line.split()[0] for line in printed if line.count("-") >= 4]


@pytest.mark.parametrize("width", [60, 80])
def test_what_has_no_room_stands_below_its_row(width: int) -> None:
    """In full, and with its name."""
    printed = " ".join(" ".join(line.split()) for line in lines(width))
    assert f"reason: {LONG}" in printed
    assert "reason: line break" in printed


@pytest.mark.parametrize("width", [140, 200])
def test_a_wide_terminal_has_a_line_for_each_row(width: int) -> None:
    """What is too long is cut, and one sees that it is."""
    printed = lines(width)
    assert len(printed) == 1 + len(ROWS)
    assert "…" in printed[1]


def test_a_pipe_gets_whole_rows() -> None:
    """Each is one line, whatever is in it, and nothing is cut."""
    printed = lines(None)
    assert len(printed) == 1 + len(ROWS)
    assert printed[1].endswith(LONG)
    assert printed[3].endswith("line break")
    assert "…" not in "".join(printed)


def test_numbers_stand_to_the_right() -> None:
    """Below each other; words to the left."""
    printed = [
        line.plain for line in table_lines(["n", "w"], [["1", "a"], ["12", "bb"]], width=80, colors={})
    ]
    assert printed == [" n  w", " 1  a", "12  bb"]


def test_a_command_below_its_row_is_one_line() -> None:
    """So that it is pasted as a whole; other values are wrapped at words."""
    command = "mailctl list --state failed --error '550 5.1.1' --since 24h --campaign spring"
    said = "some words that are much too long for a line of such a terminal, are they not"
    columns = ["emails", "next step", "error"]
    printed = [line.plain for line in table_lines(columns, [["25", command, said]], width=50, colors={})]
    assert f"  next step: {command}" in printed
    assert all(len(line) <= 50 for line in printed if command not in line)
