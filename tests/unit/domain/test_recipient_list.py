"""Lists of recipients are read row by row."""

from __future__ import annotations

import pytest

from mailctl.domain.models import RowProblem
from mailctl.domain.recipient_list import RecipientRow, read_recipients
from mailctl.errors import InvalidInput


def test_the_first_line_of_csv_names_the_columns() -> None:
    """An id or an address, a name, and variables."""
    data = "\ufeffemail,name,city\r\nada@example.com,Ada,London\r\n\r\nzoe@example.com,,\r\n".encode()
    assert list(read_recipients(data)) == [
        RecipientRow(line=2, email="ada@example.com", name="Ada", variables={"city": "London"}),
        RecipientRow(line=4, email="zoe@example.com", variables={"city": ""}),
    ]


def test_json_lines_may_be_bare() -> None:
    """Objects, ids or addresses; numbers are ids."""
    data = b'{"user_id": 7, "plan": "pro"}\n"zoe@example.com"\n"42"\n'
    assert list(read_recipients(data)) == [
        RecipientRow(line=1, user_id="7", variables={"plan": "pro"}),
        RecipientRow(line=2, email="zoe@example.com"),
        RecipientRow(line=3, user_id="42"),
    ]


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"email,name\nada@example.com\n", 2, "the row has 1 field, but the first line has 2."),
        (b"email,name\n,Ada\n", 2, "the row names neither a user nor an address."),
        (b'{"email": "a@b.example"}\n{"email": \n', 2, "the row is not JSON."),
        (b'{"email": "a@b.example"}\n[1]\n', 2, "the row is not an object."),
        (
            b'{"email": ["a@b.example", "c@d.example"]}\n',
            1,
            "the row has an address or a name that is not text.",
        ),
    ],
)
def test_a_bad_row_is_reported_with_its_line(data: bytes, line: int, reason: str) -> None:
    """The other rows are read."""
    assert list(read_recipients(data))[-1] == RowProblem(line=line, reason=reason)


@pytest.mark.parametrize("data", [b"", b"name,city\nAda,London\n", b"email\n\xff\xfe\n"])
def test_other_files_are_refused(data: bytes) -> None:
    """In one sentence that says what to do."""
    with pytest.raises(InvalidInput) as refused:
        list(read_recipients(data))
    assert refused.value.fix


def test_an_exported_address_is_the_address() -> None:
    """Without the apostrophe that keeps spreadsheets from running it; variables keep theirs."""
    [row] = read_recipients(b"email,offer\n'+ada@example.com,'-10%' off\n")
    assert row == RecipientRow(line=2, email="+ada@example.com", variables={"offer": "'-10%' off"})
