"""Lists as CSV or TSV, and chosen columns."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from mailctl.cli.terminal.tabular import OutputLayout, TableFormat, format_rows, rows_of_objects
from mailctl.errors import InvalidInput

EMAIL = {
    "task_id": "1",
    "smtp": {"code": 550, "text": 'no, "never"\n'},
    "sent_at": None,
    "queues": ["a", "b"],
}


def test_all_fields_are_columns_unless_some_are_chosen() -> None:
    """Those of objects in objects have a point in their name."""
    columns, rows = rows_of_objects([EMAIL], OutputLayout())
    assert columns == ("task_id", "smtp.code", "smtp.text", "sent_at", "queues")
    assert rows == [["1", "550", 'no, "never"\\n', "", "a b"]]
    columns, rows = rows_of_objects([EMAIL], OutputLayout(columns=("smtp.code", "task_id")))
    assert (columns, rows) == (("smtp.code", "task_id"), [["550", "1"]])


def test_an_unknown_column_is_refused_with_those_that_exist() -> None:
    """Without any object nobody knows them."""
    with pytest.raises(InvalidInput, match="'adress' is not a column"):
        rows_of_objects([EMAIL], OutputLayout(columns=("adress",)))
    assert rows_of_objects([], OutputLayout(columns=("adress",))) == (("adress",), [])


def test_an_empty_list_has_the_fields_of_its_objects_as_columns() -> None:
    """So that what reads the file finds its columns, and a misspelt column is an error there, too."""
    layout = OutputLayout(fields=("task_id", "smtp.code", "values"))
    assert rows_of_objects([], layout) == (("task_id", "smtp.code", "values"), [])
    with pytest.raises(InvalidInput, match="'adress' is not a column"):
        rows_of_objects([], replace(layout, columns=("adress",)))


def test_fields_that_no_object_has_are_columns_where_they_belong() -> None:
    """An object that is null has the columns of one that is not; names in a mapping come from the objects."""
    layout = OutputLayout(fields=("smtp.code", "values", "to"))
    found = rows_of_objects([{"smtp": None, "values": {"w1": "a"}, "to": "x"}], layout)
    assert found == (("smtp.code", "values.w1", "to"), [["", "a", "x"]])


def test_values_are_cells_without_control_characters() -> None:
    """A cell is one line; what is no text is as in JSON."""
    _, [row] = rows_of_objects([{"a": True, "b": "x\x1b[0m\ty", "c": [1], "d": {}}], OutputLayout())
    assert row[0] == "true"
    assert "\x1b" not in row[1]
    assert "\t" not in row[1]
    assert row[2:] == ["[1]", "{}"]


def test_csv_can_be_read_again() -> None:
    """As RFC 4180 says."""
    columns, rows = rows_of_objects([EMAIL, EMAIL], OutputLayout())
    text = format_rows(columns, rows, table_format=TableFormat.CSV)
    assert list(csv.reader(io.StringIO(text))) == [list(columns), *rows]


def test_tsv_has_tabs_between_the_cells() -> None:
    """And nothing else that a program has to know."""
    assert format_rows(("a", "b"), [["1", "2"]], table_format=TableFormat.TSV) == "a\tb\n1\t2\n"


def test_no_cell_is_a_formula() -> None:
    """Texts come from outside; numbers stay numbers, and a table on a terminal shows what is there."""
    texts = {"reply": "=cmd|'/C calc'!A0", "to": "+ada@example.com", "names": ["@a", "b"], "skew": -1.5}
    _, [row] = rows_of_objects([texts], OutputLayout(format=TableFormat.CSV))
    assert row == ["'=cmd|'/C calc'!A0", "'+ada@example.com", "'@a b", "-1.5"]
    _, [row] = rows_of_objects([texts], OutputLayout())
    assert row[:2] == [texts["reply"], texts["to"]]
