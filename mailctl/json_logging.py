"""Log lines: one JSON object each for programs, with what happened and the id of the email it happened to.

In these, and in the text log of a worker, control characters are escaped.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mailctl import tracing
from mailctl.timefmt import format_iso
from mailctl.unicode_safety import (
    escape_controls,
    escape_controls_as_line,
    escape_json_controls,
    has_controls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_FORMATS = ("text", "json")


def log_extra(email_id: str, action: str, *, trace: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the `extra` of a log line about an email.

    Args:
        action: what happened, in one word or a few joined by underscores; it stays over versions.
        trace: of the email.
    """
    return {"email_id": email_id, "action": action, "traceparent": (trace or {}).get("traceparent", "")}


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time, level, logger, message, and action and email_id if known,
    trace_id and span_id if there is a trace."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": format_iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "action": getattr(record, "action", None),
            "email_id": getattr(record, "email_id", None),
            "message": record.getMessage(),
            **tracing.trace_ids(getattr(record, "traceparent", None)),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        return escape_json_controls(json.dumps(line, ensure_ascii=False))


class EscapingFormatter(logging.Formatter):
    """Escapes control characters in a record, then lets another formatter write it.

    Line feeds that come with the arguments of a message are escaped, too, so that no value from outside can
    forge a line of the log; those of the message itself and of tracebacks stay.

    Args:
        inner: the other formatter; colours that it adds stay.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        shown = copy.copy(record)  # other handlers have the record, too
        message = record.getMessage()
        if has_controls(message):
            is_one_line = record.args and "\n" not in str(record.msg)
            shown.msg, shown.args = (escape_controls_as_line if is_one_line else escape_controls)(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            shown.exc_text = escape_controls(record.exc_text or self._inner.formatException(record.exc_info))
        return self._inner.format(shown)


def escape_handlers(logger: logging.Logger) -> None:
    """Make all handlers of a logger escape control characters."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, EscapingFormatter | JsonFormatter):
            handler.setFormatter(EscapingFormatter(handler.formatter or logging.Formatter()))


def configure_json_logging(level: int | str) -> None:
    """Have this process write its log to stderr as JSON, one object a line, from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
