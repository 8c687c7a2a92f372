"""The message of an email as it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.operations.message_viewer import (
    MessageDetails,
    MessageSource,
    _why_content_is_missing,
    printable_text,
)
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


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"state": State.SENT}, "deleted when the email was sent (sent)"),
        (
            {"state": State.FAILED, "reason_code": ReasonCode.INVALID_MESSAGE},
            "the message of another program",
        ),
        ({"state": State.UNCONFIRMED, "is_own_task": True}, "never stored, because the service's own task"),
        ({"state": State.FAILED, "reason_code": ReasonCode.REFUSED}, "deleted by `mailctl prune`"),
    ],
)
def test_the_reason_why_there_is_no_content_is_the_true_one(values: dict[str, Any], reason: str) -> None:
    """What was never stored was not pruned."""
    assert reason in _why_content_is_missing(email(**values))
