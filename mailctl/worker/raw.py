"""Raw messages of Redis, which are whatever somebody has put there: repaired so that kombu can take them.

What a repair leaves is checked like any other message; it only has to become one, with the id that it has.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from mailctl.worker.headers import is_deep, is_name

if TYPE_CHECKING:
    from collections.abc import Container

_MAX_NAME = 255
_TOO_DEEP = "(nested too deep)"
_ENCODINGS = (None, "base64")


def repaired(raw: Any, queue: str, *, ours: Container[str]) -> dict[str, Any]:
    """Return a raw message in which everything has the type that kombu takes for granted.

    Args:
        queue: where it was, and where it is put back.
        ours: tasks whose messages are put back there whatever else they say.

    Raises:
        ValueError: it is no message at all.
    """
    if not isinstance(raw, dict):
        raise ValueError("no message")
    headers, properties = _object(raw.get("headers")), _object(raw.get("properties"))
    info = properties.get("delivery_info")
    if not _leads_back(info) or _is_in(headers.get("task"), ours):
        info = {**_object(info), "exchange": "", "routing_key": queue}
    tag, priority = properties.get("delivery_tag"), properties.get("priority")
    encoding = properties.get("body_encoding")
    return {
        "body": raw.get("body") if isinstance(raw.get("body"), str) else "",
        "content-type": _text(raw.get("content-type")),
        "content-encoding": _text(raw.get("content-encoding")),
        "headers": headers,
        "properties": {
            **properties,
            "delivery_info": info,
            "delivery_tag": tag if is_name(tag) else str(uuid.uuid4()),
            "priority": priority if isinstance(priority, int) and 0 <= priority <= _MAX_NAME else 0,
            "body_encoding": encoding if encoding in _ENCODINGS else None,
        },
    }


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    if not is_deep(value):
        return value
    return {name: _TOO_DEEP if is_deep(each) else each for name, each in value.items()}


def _leads_back(info: Any) -> bool:
    names = [info.get("exchange"), info.get("routing_key")] if isinstance(info, dict) else [None]
    return all(name == "" or is_name(name) for name in names)


def _is_in(task: Any, tasks: Container[str]) -> bool:
    return isinstance(task, str) and task in tasks


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
