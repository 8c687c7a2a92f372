"""Raw messages of Redis, which are whatever somebody has put there: repaired so that kombu can take them.

What a repair leaves is checked like any other message; it only has to become one, with the id that it has.
"""

from __future__ import annotations

import uuid
from typing import Any

from mailctl.worker.message_validation.headers import is_nested_too_deep

_MAX_PRIORITY = 255
_TOO_DEEP = "(nested too deep)"
_BODY_ENCODINGS = (None, "base64")


class Repaired(dict[str, Any]):
    """A raw message that kombu can take.

    Args:
        values: its parts.
        stored: what Redis keeps of it until it is acknowledged, for whoever restores it.
    """

    def __init__(self, values: dict[str, Any], *, stored: dict[str, Any]) -> None:
        super().__init__(values)
        self.stored = stored


def repair_message(raw: Any, queue: str) -> Repaired:
    """Return a raw message in which everything has the type that kombu takes for granted.

    Its tag and its way are ours: until it is acknowledged kombu keeps it under the tag, where another message
    with the same one would replace it, and puts it back where its way leads, which is its queue. What is kept
    there is the message as it came, if kombu can restore it so: another app's worker may get it next.

    Args:
        queue: where it was.

    Raises:
        ValueError: it is no message at all.
    """
    if not isinstance(raw, dict):
        raise ValueError("no message")
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
    return Repaired(values, stored=raw if _is_restorable(raw) else values)


def _is_restorable(raw: dict[str, Any]) -> bool:
    """Whether kombu can put a message back: it notes in two places that it was delivered before."""
    properties = raw.get("properties")
    if (
        not isinstance(raw.get("headers"), dict)
        or not isinstance(properties, dict)
        or is_nested_too_deep(raw)
    ):
        return False
    # An infinite priority, which JSON in Python has, is no integer.
    has_integer = not isinstance(properties.get("priority"), float)
    return has_integer and isinstance(properties.get("delivery_info"), dict)


def _object_or_empty(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    if not is_nested_too_deep(value):
        return value
    return {name: _TOO_DEEP if is_nested_too_deep(each) else each for name, each in value.items()}


def _string_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
