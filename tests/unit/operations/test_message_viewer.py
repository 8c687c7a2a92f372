"""The message of an email as it is shown."""

from __future__ import annotations

import pytest

from mailctl.operations.message_viewer import MessageDetails, MessageSource, printable_text
from tests.emails import email


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello\r\nAda", "Hello\nAda"),
        ("a\x1b[31mb", "a [31mb"),
        ("a\tb", "a\tb"),
        ("end\n\n", "end"),
        ("a\u202eb", "a b"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str, shown: str) -> None:
    """Line feeds and tabs do."""
    assert printable_text(text) == shown


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        (b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hi</p>", "<p>Hi</p>"),
        (b"Content-Type: text/plain\r\n\r\nHi", ""),
        (None, ""),
    ],
)
def test_the_html_source_is_that_of_the_message(raw: bytes | None, source: str) -> None:
    """A message without an HTML part has none."""
    details = MessageDetails(email=email(), source=MessageSource.LOG, note="", headers=(), raw=raw)
    assert details.html_source == source
