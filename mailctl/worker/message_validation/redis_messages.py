"""Repairs raw messages from Redis, which any program can write, so that kombu can process them.

A repaired message is validated afterwards like any other.
"""

from __future__ import annotations

import binascii
import uuid
from typing import Any

from mailctl.worker.message_validation.headers import is_nested_too_deep
from mailctl.worker.message_validation.models import IncomingMessage
from mailctl.worker.message_validation.validation import task_name

_MAX_PRIORITY = 255
_TOO_DEEP = "(nested too deep)"
_BODY_ENCODINGS = (None, "base64")


class RepairedMessage(dict[str, Any]):
    """A raw message that kombu can process.

    Args:
        values: the items of the message.
        stored: the message that Redis keeps until the acknowledgement, and restores if there is none.
    """

    def __init__(self, values: dict[str, Any], *, stored: dict[str, Any]) -> None:
        super().__init__(values)
        self.stored = stored


def repair_message(raw: Any, queue: str) -> RepairedMessage:
    """Return a raw message in which every item has the type that kombu relies on.

    It gets a new delivery tag and the routing key of its queue. kombu stores an unacknowledged message under
    its tag, where one with the same tag would replace it, and restores it by its routing key. The stored
    message is the original, if kombu can restore that: the worker of another app may receive it next.

    Args:
        raw: the decoded JSON from Redis.
        queue: the queue that it came from.

    Raises:
        ValueError: it is not a JSON object.
    """
    if not isinstance(raw, dict):
        raise ValueError("not a message")
    headers, properties = _object_or_empty(raw.get("headers")), _object_or_empty(raw.get("properties"))
    info, priority = _object_or_empty(properties.get("delivery_info")), properties.get("priority")
    encoding = properties.get("body_encoding")
    values = {
        "body": raw.get("body") if isinstance(raw.get("body"), str) else "",
        "content-type": _string_or_none(raw.get("content-type")),
        "content-encoding": _string_or_none(raw.get("content-encoding")),
        "headers": headers,
        "properties": {
            **properties,
            "delivery_info": {**info, "exchange": "", "routing_key": queue},
            "delivery_tag": str(uuid.uuid4()),
            "priority": priority if isinstance(priority, int) and 0 <= priority <= _MAX_PRIORITY else 0,
            "body_encoding": encoding if encoding in _BODY_ENCODINGS else None,
        },
    }
    return RepairedMessage(values, stored=raw if is_restorable(raw) else values)


def is_restorable(raw: dict[str, Any]) -> bool:
    """Whether kombu can restore a message, which it marks as redelivered in two places."""
    properties = raw.get("properties")
    if (
        not isinstance(raw.get("headers"), dict)
        or not isinstance(properties, dict)
        or is_nested_too_deep(raw)
    ):
        return False
    # Python's JSON can contain an infinite priority, which cannot be converted to an integer.
    has_valid_priority = not isinstance(properties.get("priority"), float)
    return has_valid_priority and isinstance(properties.get("delivery_info"), dict)


def stored_task_name(raw: dict[str, Any]) -> str | None:
    """Return the name of the task of a message that kombu can restore; None if it names none.

    In protocol 1 the name is in the body.
    """
    body = raw.get("body")
    try:
        if raw["properties"].get("body_encoding") == "base64":
            body = binascii.a2b_base64(body or "")
    except (TypeError, ValueError):
        body = b""
    message = IncomingMessage(
        headers=raw["headers"],
        body=body if isinstance(body, str | bytes) else b"",
        content_type=raw.get("content-type"),
    )
    return task_name(message)


def _object_or_empty(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    if not is_nested_too_deep(value):
        return value
    return {name: _TOO_DEEP if is_nested_too_deep(each) else each for name, each in value.items()}


def _string_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
