"""The arguments of Celery's control commands: the types and bounds within which none can stop a worker.

Celery validates few of them: it stores an invalid time limit or queue, and fails at every later use.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from mailctl.worker.message_validation.headers import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_TEXT = 255
#: Processes that one command may add to a pool, or that autoscaling may start.
_MAX_PROCESSES = 256
#: Celery adds a time limit to the current time, which overflows for large numbers.
_MAX_SECONDS = 10**7
_MAX_NUMBER = 10**6
#: Celery asks the result backend about each task that it revokes.
_MAX_NAMES = 1000
_EXCHANGE_TYPES = ("direct", "topic", "fanout", "headers")
#: A number of tasks per second, minute or hour.
_RATE = re.compile(r"\d{1,9}(\.\d{1,3})?(/[smh])?", re.ASCII)


def is_text(value: Any) -> bool:
    """Whether a value is a short printable string, which may be empty."""
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()


def are_names(value: Any) -> bool:
    """Whether a value is a name, or a list of names that is not too long."""
    if not isinstance(value, list | tuple):
        return is_name(value)
    return len(value) <= _MAX_NAMES and all(is_name(each) for each in value)


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_none(value: Any) -> bool:
    return value is None


def _is_anything(_: Any) -> bool:
    return True


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | None)


def _is_number_up_to(limit: int, *, start: int = 1) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and start <= value <= limit


def _is_seconds(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 < value <= _MAX_SECONDS


def _is_rate(value: Any) -> bool:
    if isinstance(value, str):
        return _RATE.fullmatch(value) is not None
    return value is None or (_is_number_up_to(_MAX_NUMBER, start=0)(value))


def _is_signal(value: Any) -> bool:
    return value is None or is_name(value) or _is_number_up_to(64)(value)


def _is_exchange_type(value: Any) -> bool:
    return value is None or value in _EXCHANGE_TYPES


def _are_stamps(value: Any) -> bool:
    """Whether a value is an object of names and stamps, or a list of strings such as "name=stamp"."""
    if isinstance(value, dict):
        return all(is_name(name) and are_names(stamps) for name, stamps in value.items())
    return isinstance(value, list) and are_names(value) and all(each.count("=") == 1 for each in value)


def _are_revoked(value: Any) -> bool:
    return value is None or are_names(list(value) if isinstance(value, dict) else value)


_FLAG = _is_flag
_NAMES = _or_none(are_names)
_PROCESSES = _is_number_up_to(_MAX_PROCESSES)
_COUNT = _is_number_up_to(_MAX_NUMBER)
_STOPPING = {"terminate": _FLAG, "signal": _is_signal}
_LISTING = {"safe": _FLAG}

#: The check of each argument, by command and by name of the argument.
ARGUMENTS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "conf": {"with_defaults": _FLAG},
    "dump_conf": {"with_defaults": _FLAG},
    "registered": {"taskinfoitems": _NAMES, "builtins": _FLAG},
    "dump_tasks": {"taskinfoitems": _NAMES, "builtins": _FLAG},
    "active": _LISTING,
    "dump_active": _LISTING,
    # Flower and old clients send the argument with all of these commands.
    "reserved": _LISTING,
    "dump_reserved": _LISTING,
    "scheduled": _LISTING,
    "dump_schedule": _LISTING,
    "query_task": {"ids": are_names},
    "shutdown": {"msg": is_text},
    "hello": {"from_node": is_name, "revoked": _are_revoked},
    "revoke": {"task_id": are_names, **_STOPPING},
    "terminate": {"task_id": are_names, "signal": _is_signal},
    "revoke_by_stamped_headers": {"headers": _are_stamps, **_STOPPING},
    "rate_limit": {"task_name": is_name, "rate_limit": _is_rate},
    "time_limit": {"task_name": is_name, "soft": _or_none(_is_seconds), "hard": _or_none(_is_seconds)},
    "pool_grow": {"n": _PROCESSES},
    "pool_shrink": {"n": _PROCESSES},
    "pool_restart": {"modules": _NAMES, "reload": _FLAG, "reloader": _is_none},
    "autoscale": {"max": _or_none(_PROCESSES), "min": _or_none(_PROCESSES)},
    "election": {"id": is_name, "topic": is_name, "action": _is_anything},
    "objgraph": {"num": _COUNT, "max_depth": _is_number_up_to(100), "type": is_name},
    "memdump": {"samples": _COUNT},
    "cancel_consumer": {"queue": is_name},
    "add_consumer": {
        "queue": is_name,
        "exchange": _or_none(is_text),
        "exchange_type": _is_exchange_type,
        "routing_key": _or_none(is_text),
        "durable": _FLAG,
        "auto_delete": _FLAG,
    },
}
