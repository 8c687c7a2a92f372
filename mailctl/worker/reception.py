"""Receiving messages: one that Celery cannot take apart would end the worker, and the next one, and the next.

Such a message becomes one that its task refuses, so that it ends in the delivery log like any other.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.worker.strategy import default
from kombu.message import Message

from mailctl import inputs
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

#: The one argument of a message that could not be read: why not.
UNREADABLE = "mailctl_unreadable"
_LIMITS = 2
#: Tries after which Celery itself would have given up.
_MAX_RETRIES = 1_000_000


def strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Return what handles the messages of a task: Celery's own, once it can."""
    handle = default(task, app, consumer, **options)

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        reason = _fault(message)
        if reason:
            message, body = _refusal(message, reason), None
        return handle(message, body, ack, reject, callbacks, **more)

    return receive


def _fault(message: Any) -> str:
    """Return why a message cannot be taken apart; "" if it can."""
    try:
        payload = message.payload
    except Exception as error:
        # Of any serializer, from anybody's bytes; what it says may hold them.
        return f"cannot be decoded ({type(error).__name__})."
    try:
        inputs.email_id(message.headers.get("id"))
    except InvalidInput as error:
        return f"{error.message}"
    is_whole = isinstance(payload, list | tuple) and [type(each) for each in payload] == [list, dict, dict]
    if not is_whole:
        return "its body is not [arguments, named arguments, options]."
    if UNREADABLE in payload[1]:
        return f"it names the argument {UNREADABLE}, which only this worker may."
    unusable = [name for name, is_usable in _HEADERS.items() if not is_usable(message.headers.get(name))]
    return f"its header {unusable[0]} is not usable." if unusable else ""


def _are_limits(value: Any) -> bool:
    if value is None:
        return True
    is_pair = isinstance(value, list | tuple) and len(value) == _LIMITS
    return is_pair and all(limit is None or isinstance(limit, int | float) for limit in value)


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= _MAX_RETRIES)


def _is_time(value: Any) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _are_named(value: Any) -> bool:
    return value is None or isinstance(value, dict)


#: What Celery reads of a message before, or after, the task has it.
_HEADERS: dict[str, Callable[[Any], bool]] = {
    "timelimit": _are_limits,
    "retries": _is_count,
    "eta": _is_time,
    "expires": _is_time,
    "root_id": _is_text,
    "parent_id": _is_text,
    "group": _is_text,
    "shadow": _is_text,
    "stamped_headers": _are_texts,
    "stamps": _are_named,
}


def _refusal(message: Any, reason: str) -> Message:
    task_id = message.headers.get("id")
    try:
        task_id = inputs.email_id(task_id)
    except InvalidInput:
        task_id = str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))
    headers = {"lang": "py", "task": message.headers["task"], "id": task_id, "root_id": task_id}
    return Message(  # type: ignore[no-untyped-call]
        body=json.dumps([[], {UNREADABLE: reason}, {}]),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_tag=message.delivery_tag,
        delivery_info=message.delivery_info,
        properties={"correlation_id": task_id},
        headers=headers,
        channel=message.channel,
    )
