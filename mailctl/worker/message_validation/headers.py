"""The headers and properties of a message: types, sizes, depth and numbers that Celery takes for granted."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from celery.app.task import Context

if TYPE_CHECKING:
    from collections.abc import Callable

#: Levels that JSON may nest: a process of the pool that meets Python's recursion limit never answers.
MAX_DEPTH = 100
#: Headers that only this package sets begin with it; those that come from outside are left out.
PRIVATE_PREFIX = "mailctl_"
#: Characters and values of all headers together; a frame of AMQP holds 128 KiB.
_MAX_HEADERS_SIZE = 64 * 1024
_MAX_NUMBER = 2**63
#: Characters of one header that is passed on to a task of ours without being known, such as a trace's.
_MAX_FORWARDED_LENGTH = 8192
_MAX_NAME_LENGTH = 255
_MAX_TIME_LENGTH = 64
#: Tries after which Celery itself would have given up.
_MAX_RETRIES = 1_000_000
#: Seconds; Celery adds them to the time of day.
_MAX_TIME_LIMIT_SECONDS = 10**7


class InvalidMessage(Exception):
    """A message cannot be used; the text says why."""


def validate_headers(headers: dict[Any, Any], properties: Any) -> None:
    """Check what Celery, its pool and kombu rely on.

    Raises:
        Unusable: a value has the wrong type, or is too large or too deep.
    """
    check_size(headers, "headers")
    check_size(properties, "properties")
    for name, is_usable in _HEADER_CHECKS.items():
        value = headers.get(name)
        if value is not None and not is_usable(value):
            raise InvalidMessage(f"its header {name} is not usable.")
    for name in ("correlation_id", "reply_to"):
        value = properties.get(name)
        if value is not None and not _is_short_string(value):
            raise InvalidMessage(f"its property {name} is not usable.")


def check_size(values: object, what: str) -> None:
    """Check how much a value holds, and how deep: numbers, texts, lists and objects.

    Raises:
        Unusable: it is too large or too deep, or has a number that is.
    """
    left = _MAX_HEADERS_SIZE
    level = [values]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for value in level:
            left -= _measure(value, inner, what)
        if left < 0:
            raise InvalidMessage(f"its {what} have more than {_MAX_HEADERS_SIZE} characters.")
        if not inner:
            return
        level = inner
    raise InvalidMessage(f"its {what} nest more than {MAX_DEPTH} levels.")


def _measure(value: object, inner: list[object], what: str) -> int:
    """Return what a value counts, and note what is in it."""
    if isinstance(value, str | bytes):
        return 1 + len(value)
    if isinstance(value, int | float):
        if not -_MAX_NUMBER <= value < 2 * _MAX_NUMBER:
            raise InvalidMessage(f"its {what} hold a number that is none or too large.")
    elif isinstance(value, dict):
        inner += value
        inner += value.values()
    elif isinstance(value, list | tuple):
        inner += value
    return 1


def is_nested_too_deep(value: object, *, limit: int = MAX_DEPTH) -> bool:
    """Whether lists and objects nest deeper than a limit."""
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
    """Whether a header that is none of Celery's may reach a task of ours: those of traces do."""
    if name in _NOT_FORWARDED or not isinstance(name, str) or name.startswith(PRIVATE_PREFIX):
        return False
    if name == "headers":  # where tracers put theirs a second time
        return isinstance(value, dict) and all(is_forwarded(each, value[each]) for each in value)
    return _is_scalar(value)


#: What Celery makes of a header is an attribute of the task's request: none may replace one that is there.
_NOT_FORWARDED = frozenset({*dir(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"}) - {
    "headers"
}


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_FORWARDED_LENGTH and is_printable(value)
    return value is None or isinstance(value, bool | int | float)


def is_printable(text: str) -> bool:
    """Whether a text can stand in a line of a log as it is."""
    return text.isprintable()


def parse_time(value: object) -> datetime | None:
    """Return a time that a header names, in UTC; None for none.

    Raises:
        Unusable: it is no time.
    """
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_TIME_LENGTH:
        raise InvalidMessage("its eta or expires is not usable.")
    try:
        read = datetime.fromisoformat(value)
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMessage("its eta or expires is not usable.") from None


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
    """Whether a value can name a task or a queue, and stand in a line of a log."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_LENGTH and is_printable(value)


def _is_string_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


#: What Celery reads of a message before, or after, the task has it.
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
