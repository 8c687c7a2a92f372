"""Log formatters: JSON lines with the action and the id of the email, and escaping of control characters."""

from __future__ import annotations

import copy
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mailctl import tracing
from mailctl.domain.unicode_safety import (
    escape_controls,
    escape_controls_as_line,
    escape_json_controls,
    has_controls,
)
from mailctl.errors import InvalidInput
from mailctl.timefmt import format_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_FORMATS = ("text", "json")


def log_extra(email_id: str, action: str, *, trace: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the `extra` of a log record about an email.

    Args:
        email_id: the id of the email.
        action: a stable name of what happened, such as `email_sent`.
        trace: the trace context of the email.
    """
    return {"email_id": email_id, "action": action, "traceparent": (trace or {}).get("traceparent", "")}


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object.

    The fields are time, level, logger, action, email_id and message, trace_id and span_id if there is a
    trace, and error and traceback of an exception.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
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
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return escape_json_controls(json.dumps(line, ensure_ascii=False))


class EscapingFormatter(logging.Formatter):
    """Escapes control characters in a record before another formatter formats it.

    Line feeds in the arguments of a message are escaped as well, so that no value can forge a log line; those
    of the message itself and of tracebacks remain.

    Args:
        inner: the other formatter, which may add colours.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text, with its control characters escaped."""
        shown = copy.copy(record)  # other handlers get the same record
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
    """Write the log of this process to stderr as JSON, one object per line, from a level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)


def configure_logging(log_format: str) -> None:
    """Write the log of a long-running command to stderr, from INFO on.

    Args:
        log_format: `text` or `json`.

    Raises:
        InvalidInput: it is neither.
    """
    if log_format not in LOG_FORMATS:
        raise InvalidInput(
            "--log-format", f"{log_format!r} is not a format.", fix=f"Use {', '.join(LOG_FORMATS)}."
        )
    if log_format == "json":
        configure_json_logging("INFO")
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
