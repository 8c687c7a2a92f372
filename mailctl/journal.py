"""Log lines for programs: one JSON object each, with what happened and the id of the email it happened to."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mailctl import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMATS = ("text", "json")


def about(email_id: str, action: str, *, trace: Mapping[str, str] | None = None) -> dict[str, str]:
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
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "action": getattr(record, "action", None),
            "email_id": getattr(record, "email_id", None),
            "message": record.getMessage(),
            **tracing.ids_of(getattr(record, "traceparent", None)),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def write_json(level: int | str) -> None:
    """Have this process write its log to stderr as JSON, one object a line, from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
