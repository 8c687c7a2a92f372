"""Headers and properties of a message: the types, sizes, depths and numbers that Celery relies on."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from celery.app.task import Context

from mailctl.worker.message_validation.models import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable

#: Levels that JSON may nest: a pool process that reaches Python's recursion limit never answers.
MAX_DEPTH = 100
#: The prefix of headers that only mailctl sets; they are removed from what other programs publish.
PRIVATE_PREFIX = "mailctl_"
#: Characters and values of all headers together; an AMQP frame holds 128 KiB.
_MAX_HEADERS_SIZE = 64 * 1024
_MAX_NUMBER = 2**63
#: Characters of an unknown header that is forwarded to a task of mailctl, such as one of a tracer.
_MAX_FORWARDED_LENGTH = 8192
_MAX_NAME_LENGTH = 255
_MAX_TIME_LENGTH = 64
#: More retries than any task of Celery makes.
_MAX_RETRIES = 1_000_000
#: Celery adds a time limit to the current time, which overflows for large numbers.
_MAX_TIME_LIMIT_SECONDS = 10**7


def validate_headers(headers: dict[Any, Any], properties: Any) -> None:
    """Check the headers and properties that Celery, its pool and kombu rely on.

    Raises:
        InvalidMessage: a value has the wrong type, or is too large or too deep.
    """
    check_size(headers, "headers")
    check_size(properties, "properties")
    for name, is_valid in _HEADER_CHECKS.items():
        value = headers.get(name)
        if value is not None and not is_valid(value):
            raise InvalidMessage(f"its header {name} is invalid.")
    for name in ("correlation_id", "reply_to"):
        value = properties.get(name)
        if value is not None and not _is_short_string(value):
            raise InvalidMessage(f"its property {name} is invalid.")


def check_size(values: object, what: str) -> None:
    """Check the size and depth of a value that consists of numbers, strings, lists and objects.

    Args:
        values: the value.
        what: its name in the plural, for the error.

    Raises:
        InvalidMessage: the value is too large or too deep, or contains a number that is too large.
    """
    remaining = _MAX_HEADERS_SIZE
    level = [values]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for value in level:
            remaining -= _measure(value, inner, what)
        if remaining < 0:
            raise InvalidMessage(f"its {what} have more than {_MAX_HEADERS_SIZE} characters.")
        if not inner:
            return
        level = inner
    raise InvalidMessage(f"its {what} nest more than {MAX_DEPTH} levels.")


def _measure(value: object, inner: list[object], what: str) -> int:
    """Return the size of a value, and append the values that it contains to `inner`."""
    if isinstance(value, str | bytes):
        return 1 + len(value)
    if isinstance(value, int | float):
        if not -_MAX_NUMBER <= value < 2 * _MAX_NUMBER:
            raise InvalidMessage(f"its {what} contain a number that is not finite or too large.")
    elif isinstance(value, dict):
        inner += value
        inner += value.values()
    elif isinstance(value, list | tuple):
        inner += value
    return 1


def is_nested_too_deep(value: object, *, limit: int = MAX_DEPTH) -> bool:
    """Whether lists and objects in a value nest deeper than a limit."""
    level: list[object] = [value]
    for _ in range(limit + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list | tuple):
                inner += each
        if not inner:
            return False
        level = inner
    return True


def is_forwarded(name: object, value: object) -> bool:
    """Whether a header that is not one of Celery's is forwarded to a task of mailctl, such as a tracer's."""
    if name in _NOT_FORWARDED or not isinstance(name, str) or name.startswith(PRIVATE_PREFIX):
        return False
    if name == "headers":  # tracers repeat their headers in it
        return isinstance(value, dict) and all(is_forwarded(each, value[each]) for each in value)
    return _is_scalar(value)


#: Celery makes each header an attribute of the task's request: none may replace an existing one.
_NOT_FORWARDED = frozenset({*dir(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"}) - {
    "headers"
}


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_FORWARDED_LENGTH and is_printable(value)
    return value is None or isinstance(value, bool | int | float)


def is_printable(text: str) -> bool:
    """Whether a text contains only printable characters, as a line of a log needs."""
    return text.isprintable()


def parse_time(value: object) -> datetime | None:
    """Return the time in a header, in UTC; None for None.

    Raises:
        InvalidMessage: the value is not a time.
    """
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_TIME_LENGTH:
        raise InvalidMessage("its eta or expires is not a valid time.")
    try:
        time = datetime.fromisoformat(value)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMessage("its eta or expires is not a valid time.") from None


def _is_time_limit(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == len(("hard", "soft"))
    return is_pair and all(limit is None or _is_seconds(limit) for limit in value)


def _is_seconds(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= _MAX_TIME_LIMIT_SECONDS


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_RETRIES


def _is_time(value: Any) -> bool:
    try:
        parse_time(value)
        return True
    except InvalidMessage:
        return False


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_short_string(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_NAME_LENGTH


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a value is a valid name of a task or a queue: short, printable, not empty."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_LENGTH and is_printable(value)


def _is_string_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


#: The headers that Celery reads before or after it executes the task.
_HEADER_CHECKS: dict[str, Callable[[Any], bool]] = {
    "timelimit": _is_time_limit,
    "retries": _is_count,
    "eta": _is_time,
    "expires": _is_time,
    "root_id": _is_short_string,
    "parent_id": _is_short_string,
    "group": _is_short_string,
    "shadow": _is_string,
    "stamped_headers": _is_string_list,
    "stamps": _is_mapping,
    "replaced_task_nesting": _is_count,
}
