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
PRIVATE = "mailctl_"
#: Characters and values of all headers together; a frame of AMQP holds 128 KiB.
_MAX_HEADERS = 64 * 1024
_MAX_NUMBER = 2**63
#: Characters of one header that is passed on to a task of ours without being known, such as a trace's.
_MAX_EXTRA = 8192
_MAX_NAME = 255
_MAX_TIME = 64
#: Tries after which Celery itself would have given up.
_MAX_RETRIES = 1_000_000
#: Seconds; Celery adds them to the time of day.
_MAX_TIME_LIMIT = 10**7


class Unusable(Exception):
    """A message cannot be used; the text says why."""


def check(headers: dict[Any, Any], properties: Any) -> None:
    """Check what Celery, its pool and kombu rely on.

    Raises:
        Unusable: a value has the wrong type, or is too large or too deep.
    """
    check_size(headers, "headers")
    check_size(properties, "properties")
    for name, is_usable in _HEADERS.items():
        value = headers.get(name)
        if value is not None and not is_usable(value):
            raise Unusable(f"its header {name} is not usable.")
    for name in ("correlation_id", "reply_to"):
        value = properties.get(name)
        if value is not None and not _is_short(value):
            raise Unusable(f"its property {name} is not usable.")


def check_size(values: object, what: str) -> None:
    """Check how much a value holds, and how deep: numbers, texts, lists and objects.

    Raises:
        Unusable: it is too large or too deep, or has a number that is.
    """
    left = _MAX_HEADERS
    level = [values]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for value in level:
            left -= _size(value, inner, what)
        if left < 0:
            raise Unusable(f"its {what} have more than {_MAX_HEADERS} characters.")
        if not inner:
            return
        level = inner
    raise Unusable(f"its {what} nest more than {MAX_DEPTH} levels.")


def _size(value: object, inner: list[object], what: str) -> int:
    """Return what a value counts, and note what is in it."""
    if isinstance(value, str | bytes):
        return 1 + len(value)
    if isinstance(value, int | float):
        if not -_MAX_NUMBER <= value < 2 * _MAX_NUMBER:
            raise Unusable(f"its {what} hold a number that is none or too large.")
    elif isinstance(value, dict):
        inner += value
        inner += value.values()
    elif isinstance(value, list | tuple):
        inner += value
    return 1


def is_deep(value: object, *, limit: int = MAX_DEPTH) -> bool:
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


def is_passed_on(name: object, value: object) -> bool:
    """Whether a header that is none of Celery's may reach a task of ours: those of traces do."""
    if name in _NOT_PASSED_ON or not isinstance(name, str) or name.startswith(PRIVATE):
        return False
    if name == "headers":  # where tracers put theirs a second time
        return isinstance(value, dict) and all(is_passed_on(each, value[each]) for each in value)
    return _is_plain(value)


#: What Celery makes of a header is an attribute of the task's request: none may replace one that is there.
_NOT_PASSED_ON = frozenset({*dir(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"}) - {
    "headers"
}


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_EXTRA and is_legible(value)
    return value is None or isinstance(value, bool | int | float)


def is_legible(text: str) -> bool:
    """Whether a text can stand in a line of a log as it is."""
    return text.isprintable()


def moment(value: object) -> datetime | None:
    """Return a time that a header names, in UTC; None for none.

    Raises:
        Unusable: it is no time.
    """
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_TIME:
        raise Unusable("its eta or expires is not usable.")
    try:
        read = datetime.fromisoformat(value)
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unusable("its eta or expires is not usable.") from None


def _are_limits(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == len(("hard", "soft"))
    return is_pair and all(limit is None or _is_seconds(limit) for limit in value)


def _is_seconds(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= _MAX_TIME_LIMIT


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_RETRIES


def _is_time(value: Any) -> bool:
    try:
        moment(value)
        return True
    except Unusable:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_NAME


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a value can name a task or a queue, and stand in a line of a log."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and is_legible(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_named(value: Any) -> bool:
    return isinstance(value, dict)


#: What Celery reads of a message before, or after, the task has it.
_HEADERS: dict[str, Callable[[Any], bool]] = {
    "timelimit": _are_limits,
    "retries": _is_count,
    "eta": _is_time,
    "expires": _is_time,
    "root_id": _is_short,
    "parent_id": _is_short,
    "group": _is_short,
    "shadow": _is_text,
    "stamped_headers": _are_texts,
    "stamps": _are_named,
    "replaced_task_nesting": _is_count,
}
