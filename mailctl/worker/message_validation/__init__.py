"""The envelope of a message: headers, properties and body, validated before Celery acts on them.

Everything here is a decision on values: nothing is read, written or published.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import kombu.utils.json

from mailctl.domain import validation
from mailctl.domain.catalog import CANARY
from mailctl.errors import InvalidInput
from mailctl.timefmt import MAX_AHEAD
from mailctl.worker.message_validation.decompression import DecompressedTooLarge, decompress
from mailctl.worker.message_validation.headers import (
    MAX_DEPTH,
    InvalidMessage,
    is_forwarded,
    is_name,
    is_nested_too_deep,
    parse_time,
    validate_headers,
)

#: Kombu's, which knows more types; without types of its own.
_json: Any = kombu.utils.json
#: Octets that the body of a message of ours may have, expanded.
MAX_BODY = 2**20
#: The same for tasks of a service's own: what one message may take of this process.
MAX_SERVICE_BODY = 64 * 2**20
#: An ETA that is nearer than this is no reason to wait.
_MIN_DELAY = timedelta(seconds=1)
JSON_CONTENT_TYPE = "application/json"
#: Of a body of protocol 2.
_PROTOCOL_2_PARTS = 3
_EMBED_KEYS = frozenset({"callbacks", "errbacks", "chain", "chord"})
#: Others, such as zlib_codec, are more than the name of a character set.
_CHARSETS = frozenset(
    {"", "utf-8", "utf8", "us-ascii", "ascii", "latin-1", "iso-8859-1", "utf-16", "utf-32", "binary"}
    | {"ascii-8bit", "base64"}
)

#: Headers that only this module sets; those that come from outside are left out.
REFUSAL_HEADER = "mailctl_refusal"
NOT_BEFORE_HEADER = "mailctl_not_before"
EXPIRES_HEADER = "mailctl_expires"
#: What of protocol 1, where all of it is in the body, protocol 2 has in headers.
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


@dataclass(frozen=True, kw_only=True)
class IncomingMessage:
    """A message as it came, its body not expanded yet."""

    headers: Any
    properties: Any = field(default_factory=dict)
    body: Any = b""
    content_type: Any = JSON_CONTENT_TYPE
    content_encoding: Any = "utf-8"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What a task of ours gets of a message."""

    id: str
    #: Those that Celery and traces need, and ours.
    headers: dict[str, Any]
    #: Arguments and named arguments, as protocol 2 has them; what else a body asks for is left out.
    body: Any
    reply_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A message of ours that can never become an email."""

    #: Its own, else one that is made of what it has instead: always the same for the same message.
    id: str
    reason: str


def task_name(wire: IncomingMessage, *, limit: int = MAX_BODY) -> str | None:
    """Return the task that a message is for; None if it names none.

    Args:
        limit: octets of a body in which its name is looked for: that of protocol 1 is there.
    """
    name = wire.headers.get("task") if isinstance(wire.headers, dict) else None
    if name is None:
        try:
            payload = (
                _parse_json(_decompressed_body(wire, limit=limit))
                if wire.content_type == JSON_CONTENT_TYPE
                else None
            )
        except InvalidMessage:
            return None
        name = payload.get("task") if isinstance(payload, dict) else None
    return name if isinstance(name, str) and name else None


def validate_message(wire: IncomingMessage, task: str, *, now: datetime) -> Accepted | Refused:
    """Decide on a message for a task of ours, of protocol 1 or 2."""
    headers = wire.headers if isinstance(wire.headers, dict) else {}
    properties = wire.properties if isinstance(wire.properties, dict) else {}
    task_id = headers.get("id")
    try:
        payload = _payload(wire)
        if isinstance(payload, dict):
            headers = {name: payload.get(name) for name in _PROTOCOL_1_FIELDS} | dict(headers)
            task_id = headers["id"]
        validate_headers(headers, properties)
        headers = _accepted_headers(task, headers, now=now)
        body = _accepted_body(wire, payload)
        return Accepted(id=headers["id"], headers=headers, body=body, reply_to=properties.get("reply_to"))
    except InvalidMessage as fault:
        usable_id = _usable_id((task_id, properties.get("correlation_id")), wire.body)
        return Refused(id=usable_id, reason=f"{fault}")


def service_task_body(wire: IncomingMessage) -> Any:
    """Return the body of a message for a task of a service's own, expanded.

    Raises:
        Unusable: Celery cannot act on the message without harm to the worker.
    """
    headers = wire.headers if isinstance(wire.headers, dict) else {}
    validate_headers(headers, wire.properties)
    if "task" in headers and not is_name(headers.get("id")):
        raise InvalidMessage("its id is not a text that can be printed.")
    check_charset(wire)
    body = _decompressed_body(wire, limit=MAX_SERVICE_BODY)
    if (
        wire.content_type == JSON_CONTENT_TYPE
        and _max_nesting(body) > MAX_DEPTH
        and is_nested_too_deep(_parse_json(body))
    ):
        raise InvalidMessage(f"its body nests more than {MAX_DEPTH} levels.")
    return body


def _decompressed_body(wire: IncomingMessage, *, limit: int) -> Any:
    """Return the body of a message, expanded if it is compressed."""
    body, method = wire.body, (wire.headers or {}).get("compression")
    # A compressed body as well: one that is longer than what it may hold is no use to anybody.
    if len(body) <= limit and method:
        try:
            body = decompress(body.encode() if isinstance(body, str) else bytes(body), method, limit=limit)
        except DecompressedTooLarge:
            raise InvalidMessage(f"its body expands to more than {limit} octets.") from None
        except ValueError as error:
            raise InvalidMessage(f"its body cannot be expanded: {error}.") from None
    if len(body) > limit:
        raise InvalidMessage(f"its body has more than {limit} octets.")
    return body


def _payload(wire: IncomingMessage) -> Any:
    """Return what is in the body of a message of ours."""
    if wire.content_type != JSON_CONTENT_TYPE:
        raise InvalidMessage(f"its content type is not {JSON_CONTENT_TYPE}.")
    check_charset(wire)
    body = _decompressed_body(wire, limit=MAX_BODY)
    payload = _parse_json(body)
    if _max_nesting(body) > MAX_DEPTH and is_nested_too_deep(payload):
        raise InvalidMessage(f"its body nests more than {MAX_DEPTH} levels.")
    return payload


def _parse_json(body: Any) -> Any:
    try:
        return _json.loads(body)
    except Exception as error:
        # Its words may hold what is in the body.
        raise InvalidMessage(f"cannot be decoded ({type(error).__name__}).") from None


def _max_nesting(body: Any) -> int:
    """Return how deep a body can nest at most."""
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    octets = bytes(body)
    return octets.count(b"[") + octets.count(b"{")


def check_charset(wire: IncomingMessage) -> None:
    """Check that the encoding of a body is a character set: others, such as zlib_codec, expand it.

    Raises:
        Unusable: it is not.
    """
    charset = wire.content_encoding or ""
    if not isinstance(charset, str) or charset.lower() not in _CHARSETS:
        raise InvalidMessage("its content encoding is not that of a text.")


def _accepted_headers(task: str, headers: dict[Any, Any], *, now: datetime) -> dict[str, Any]:
    try:
        task_id = validation.validate_email_id(headers.get("id"))
    except InvalidInput as error:
        raise InvalidMessage(error.message) from None
    kept = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": _id_or_none(headers.get("root_id")) or task_id,
        "parent_id": _id_or_none(headers.get("parent_id")),
        **{name: value for name, value in headers.items() if is_forwarded(name, value)},
        **_time_headers(task, headers, now=now),
    }
    if isinstance(headers.get("ignore_result"), bool):
        kept["ignore_result"] = headers["ignore_result"]
    return kept


def _accepted_body(wire: IncomingMessage, payload: Any) -> Any:
    if isinstance(payload, dict):
        args, kwargs, embed = payload.get("args", []), payload.get("kwargs", {}), None
    elif isinstance(payload, list) and len(payload) == _PROTOCOL_2_PARTS:
        args, kwargs, embed = payload
    else:
        raise InvalidMessage("its body is not [arguments, named arguments, options].")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise InvalidMessage("its body is not [arguments, named arguments, options].")
    # What every message of Celery's says is that nothing comes after the task.
    is_bare = isinstance(payload, list) and not wire.headers.get("compression") and _is_empty_embed(embed)
    return wire.body if is_bare else _json.dumps([args, kwargs, {}])


def _is_empty_embed(embed: dict[str, Any] | None) -> bool:
    return not embed or (embed.keys() <= _EMBED_KEYS and not any(embed.values()))


def _time_headers(task: str, headers: dict[Any, Any], *, now: datetime) -> dict[str, str]:
    """Return until when an email is to wait and when it has lost its use: the log minds both, not Celery."""
    eta, expires = (parse_time(headers.get(name)) for name in ("eta", "expires"))
    times = {}
    if eta is not None and eta > now + MAX_AHEAD:
        raise InvalidMessage(f"its eta is more than {MAX_AHEAD.days} days ahead.")
    if eta is not None and eta > now + _MIN_DELAY:
        times[NOT_BEFORE_HEADER] = eta.isoformat()
    if expires is not None:
        # Nobody waits for the answer to an old canary; an email that is not sent has to be recorded.
        times["expires" if task == CANARY.task else EXPIRES_HEADER] = expires.isoformat()
    return times


def _usable_id(given: tuple[Any, ...], body: Any) -> str:
    """Return the id under which a message is recorded that cannot be used."""
    for each in given:
        try:
            return validation.validate_email_id(each)
        except InvalidInput:
            continue
    named = next((ascii(each) for each in given if isinstance(each, str | int)), None)
    octets = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body or b"")
    return str(uuid.uuid5(uuid.NAMESPACE_OID, named or hashlib.sha256(octets).hexdigest()))


def _id_or_none(value: object) -> str | None:
    try:
        return validation.validate_email_id(value)
    except InvalidInput:
        return None
