"""Validation of a message for a task of mailctl, and of one for a task of a service."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Any

from mailctl.domain import validation
from mailctl.domain.catalog import CANARY
from mailctl.errors import InvalidInput
from mailctl.timefmt import MAX_AHEAD
from mailctl.worker.message_validation import body as bodies
from mailctl.worker.message_validation.headers import is_forwarded, is_name, parse_time, validate_headers
from mailctl.worker.message_validation.models import (
    JSON_CONTENT_TYPE,
    Accepted,
    IncomingMessage,
    InvalidMessage,
    Rejected,
)

#: Headers that only mailctl sets; they are removed from what other programs publish.
REFUSAL_HEADER = "mailctl_refusal"
NOT_BEFORE_HEADER = "mailctl_not_before"
EXPIRES_HEADER = "mailctl_expires"
#: An ETA that is nearer than this is ignored.
_MIN_DELAY = timedelta(seconds=1)
_PROTOCOL_2_PARTS = 3
_EMBED_KEYS = frozenset({"callbacks", "errbacks", "chain", "chord"})
#: The fields of a body of protocol 1 that are headers in protocol 2.
_PROTOCOL_1_FIELDS = (
    "id",
    "root_id",
    "parent_id",
    "group",
    "shadow",
    "eta",
    "expires",
    "retries",
    "timelimit",
)


def task_name(message: IncomingMessage, *, limit: int = bodies.MAX_BODY) -> str | None:
    """Return the name of the task that a message is for; None if it names none.

    Args:
        message: the message, of protocol 1 or 2.
        limit: the greatest number of bytes of a body of protocol 1, which contains the name.
    """
    name = message.headers.get("task") if isinstance(message.headers, dict) else None
    if name is None and message.content_type == JSON_CONTENT_TYPE:
        try:
            value = bodies.parse_json(bodies.decompressed_body(message, limit=limit))
        except InvalidMessage:
            return None
        name = value.get("task") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else None


def validate_message(message: IncomingMessage, task: str, *, now: datetime) -> Accepted | Rejected:
    """Decide whether a message for a task of mailctl is valid.

    Args:
        message: the message, of protocol 1 or 2.
        task: the name of the task.
        now: the current time.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    properties = message.properties if isinstance(message.properties, dict) else {}
    task_id = headers.get("id")
    try:
        value = bodies.parse_body(message)
        if isinstance(value, dict):
            headers = {name: value.get(name) for name in _PROTOCOL_1_FIELDS} | dict(headers)
            task_id = headers["id"]
        validate_headers(headers, properties)
        headers = _accepted_headers(task, headers, now=now)
        body = _accepted_body(message, value)
        return Accepted(id=headers["id"], headers=headers, body=body, reply_to=properties.get("reply_to"))
    except InvalidMessage as error:
        valid_id = _valid_id((task_id, properties.get("correlation_id")), message.body)
        return Rejected(id=valid_id, reason=f"{error}")


def validate_service_message(message: IncomingMessage) -> Any:
    """Return the decompressed body of a message for a task of a service.

    Raises:
        InvalidMessage: the message would harm the worker.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    validate_headers(headers, message.properties)
    if "task" in headers and not is_name(headers.get("id")):
        raise InvalidMessage("its id is not a printable string.")
    return bodies.service_task_body(message)


def _accepted_headers(task: str, headers: dict[Any, Any], *, now: datetime) -> dict[str, Any]:
    try:
        task_id = validation.validate_email_id(headers.get("id"))
    except InvalidInput as error:
        raise InvalidMessage(error.message) from None
    accepted = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": _id_or_none(headers.get("root_id")) or task_id,
        "parent_id": _id_or_none(headers.get("parent_id")),
        **{name: value for name, value in headers.items() if is_forwarded(name, value)},
        **_time_headers(task, headers, now=now),
    }
    if isinstance(headers.get("ignore_result"), bool):
        accepted["ignore_result"] = headers["ignore_result"]
    return accepted


def _accepted_body(message: IncomingMessage, value: Any) -> Any:
    """Return a body of protocol 2 without Celery's options: the original, if it has none."""
    if isinstance(value, dict):
        args, kwargs, embed = value.get("args", []), value.get("kwargs", {}), None
    elif isinstance(value, list) and len(value) == _PROTOCOL_2_PARTS:
        args, kwargs, embed = value
    else:
        raise InvalidMessage("its body is not [arguments, named arguments, options].")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise InvalidMessage("its body is not [arguments, named arguments, options].")
    is_compressed = bool(message.headers.get("compression"))
    is_unchanged = isinstance(value, list) and not is_compressed and _is_empty_embed(embed)
    return message.body if is_unchanged else bodies.kombu_json.dumps([args, kwargs, {}])


def _is_empty_embed(embed: dict[str, Any] | None) -> bool:
    return not embed or (embed.keys() <= _EMBED_KEYS and not any(embed.values()))


def _time_headers(task: str, headers: dict[Any, Any], *, now: datetime) -> dict[str, str]:
    """Return the headers for ETA and expiry, which the delivery log observes instead of Celery."""
    eta, expires = (parse_time(headers.get(name)) for name in ("eta", "expires"))
    times = {}
    if eta is not None and eta > now + MAX_AHEAD:
        raise InvalidMessage(f"its eta is more than {MAX_AHEAD.days} days ahead.")
    if eta is not None and eta > now + _MIN_DELAY:
        times[NOT_BEFORE_HEADER] = eta.isoformat()
    if expires is not None:
        # Celery may discard an expired canary; an expired email has to be recorded.
        times["expires" if task == CANARY.task else EXPIRES_HEADER] = expires.isoformat()
    return times


def _valid_id(candidates: tuple[Any, ...], body: Any) -> str:
    """Return the first valid id, or one that is derived from the candidates or from the body."""
    for each in candidates:
        try:
            return validation.validate_email_id(each)
        except InvalidInput:
            continue
    name = next((ascii(each) for each in candidates if isinstance(each, str | int)), None)
    data = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body or b"")
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name or hashlib.sha256(data).hexdigest()))


def _id_or_none(value: object) -> str | None:
    try:
        return validation.validate_email_id(value)
    except InvalidInput:
        return None
