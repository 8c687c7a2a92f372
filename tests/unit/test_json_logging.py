"""Log records as JSON lines, and control characters in log lines."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from mailctl.json_logging import EscapingFormatter, JsonFormatter, escape_handlers, log_extra


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("mailctl.test", logging.WARNING, "x.py", 1, message, arguments, None)
    vars(made).update(more)
    return made


def raised() -> logging.LogRecord:
    try:
        raise ValueError("bad\x1b[2J\nvalue")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
        return made


def test_a_record_becomes_one_json_object() -> None:
    """With action, email and trace."""
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    line = JsonFormatter().format(record("sent %s", "e1", **log_extra("e1", "email_sent", trace=trace)))
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "logger": "mailctl.test",
        "action": "email_sent",
        "email_id": "e1",
        "message": "sent e1",
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }


def test_an_exception_is_part_of_the_object() -> None:
    """On the same line."""
    line = JsonFormatter().format(raised())
    found = json.loads(line)
    assert (found["error"], "Traceback" in found["traceback"]) == ("ValueError", True)
    assert "\n" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("message", "arguments", "line"),
    [
        ("from %s", ("a\nb",), r"from a\nb"),
        ("from %s", ("\x1b[2J",), r"from \x1b[2J"),
        ("two\nlines\x07", (), "two\nlines\\x07"),
        ("plain", (), "plain"),
    ],
)
def test_control_characters_are_escaped(message: str, arguments: tuple[object, ...], line: str) -> None:
    """A line feed in an argument could forge a log line; one in the message itself may stay."""
    assert EscapingFormatter(logging.Formatter()).format(record(message, *arguments)) == line


def test_other_handlers_get_the_record_unchanged() -> None:
    """The formatter works on a copy."""
    shared = record("from %s", "a\nb")
    EscapingFormatter(logging.Formatter()).format(shared)
    assert (shared.msg, shared.args) == ("from %s", ("a\nb",))


def test_tracebacks_keep_their_lines() -> None:
    """Without control characters of terminals."""
    text = EscapingFormatter(logging.Formatter()).format(raised())
    assert "\x1b" not in text
    assert text.count("\n") >= 3


def test_handlers_are_wrapped_once() -> None:
    """JSON needs no wrapping."""
    logger = logging.Logger("test")
    plain, structured = logging.StreamHandler(), logging.StreamHandler()
    structured.setFormatter(JsonFormatter())
    logger.handlers = [plain, structured]
    escape_handlers(logger)
    wrapped = plain.formatter
    escape_handlers(logger)
    assert isinstance(wrapped, EscapingFormatter)
    assert plain.formatter is wrapped
    assert isinstance(structured.formatter, JsonFormatter)
