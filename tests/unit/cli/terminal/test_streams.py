"""What is printed where an encoding lacks a character."""

from __future__ import annotations

import codecs
import io

import pytest
from rich.cells import cell_len

from mailctl.cli.terminal import streams


@pytest.fixture(autouse=True)
def _registered() -> None:
    codecs.register_error("mailctl.substitute", streams._substitute)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("▁▄█ ▏▉", ".=# .:"),
        ("“quoted” \u2018it\u2019s\u2019 a\u2013b\u00a0c…", "\"quoted\" 'it's' a-b c."),
        ("→ ←", "> <"),
        ("拒绝", "????"),
        ("e\u0301", "e"),
    ],
)
def test_a_substitute_takes_as_many_cells(text: str, printed: str) -> None:
    """Tables stay aligned."""
    assert text.encode("ascii", "mailctl.substitute").decode() == printed
    assert cell_len(printed) == cell_len(text)


def test_decoding_errors_are_not_substituted() -> None:
    """Bytes that are no text are an error."""
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "mailctl.substitute")


def test_utf_encodings_have_every_character() -> None:
    """A stream without an encoding is one of text."""
    assert streams.is_unicode(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8"))
    assert streams.is_unicode(io.StringIO())
    assert not streams.is_unicode(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
