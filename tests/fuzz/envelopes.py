"""Envelopes of messages: what is in them, and what has to become of a message."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import amqp

QUEUE = "celery"


#: Where nothing may be published because a message says so.
STOLEN = "stolen"


TASK = "send_welcome_email_task"


USER: dict[str, Any] = {"user_data": {"id": 7, "email": "zoe@example.com", "username": "zoe"}}


#: In every place that a text log could print it.
ESCAPES = "\x1b]52;c;ZXZpbA==\x07\r\n[2026-01-01 00:00:00,000: INFO/MainProcess] forged"


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


#: Octets that a bomb of zlib's expands to; those of others are sixteen times larger.
BOMB = 80 * 2**20


class End(Enum):
    """What has to become of a message."""

    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SCHEDULED = "pending"
    #: It is sent, or has failed.
    RECORDED = "recorded"
    #: It is in the log.
    ANY = "any"
    #: It is for no task of ours: nothing is recorded.
    NOT_OURS = "not ours"


@dataclass(frozen=True)
class Envelope:
    """A message, in the terms of Celery."""

    headers: Any
    body: bytes
    properties: Any = field(default_factory=dict)
    content_type: Any = "application/json"
    content_encoding: Any = "utf-8"

    def on_redis(self) -> bytes | None:
        """Return it as kombu puts it into a list of Redis; None if JSON has no such thing."""
        properties = self.properties
        if isinstance(properties, dict):
            properties = {
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
                **properties,
            }
        message = {
            "body": base64.b64encode(self.body).decode(),
            "content-type": self.content_type,
            "content-encoding": self.content_encoding,
            "headers": self.headers,
            "properties": properties,
        }
        try:
            return json.dumps(message).encode()
        except TypeError:
            return None

    def on_amqp(self) -> amqp.Message | None:
        """Return it as py-amqp publishes it; None if AMQP has no such thing."""
        properties = {
            **self.properties,
            "content_type": self.content_type,
            "content_encoding": self.content_encoding,
            "application_headers": self.headers,
            "delivery_mode": 2,
        }
        message = amqp.Message(self.body, **{k: v for k, v in properties.items() if v is not None})
        try:
            frame = message._serialize_properties()
        except Exception:
            return None
        return message if len(frame) < 120_000 else None


@dataclass(frozen=True)
class Shape:
    """An envelope, and what has to become of it."""

    name: str
    envelope: Envelope
    end: End
    #: Under which it ends in the log, if it has an id of its own.
    id: str | None = None
    #: What Redis alone has: the bytes in the list.
    raw: bytes | None = None
    #: What AMQP alone has: the octets of the properties, and a routing key.
    octets: bytes | None = None
    key: Any = None

    def on_redis(self) -> bytes | None:
        """Return what is in the list of Redis; None for what only AMQP has."""
        if self.octets is not None or self.key is not None:
            return None
        return self.envelope.on_redis() if self.raw is None else self.raw

    def on_amqp(self) -> amqp.Message | None:
        """Return what py-amqp publishes; None for what only Redis has."""
        if self.octets is not None:
            return _Octets(self.envelope.body, self.octets)
        return self.envelope.on_amqp() if self.raw is None else None


class _Octets(amqp.Message):  # type: ignore[misc]
    """A message whose properties are these octets."""

    def __init__(self, body: bytes, octets: bytes) -> None:
        super().__init__(body)
        self._octets = octets

    def _serialize_properties(self) -> bytes:
        return self._octets


def whole(task: Any = TASK, arguments: Any = None, /, *, id: Any = None, **headers: Any) -> Envelope:
    """Return a good message as Celery publishes it, with other headers."""
    task_id = str(uuid.uuid4()) if id is None else id
    body = json.dumps([[], USER if arguments is None else arguments, EMBED]).encode()
    own = {"lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None, "group": None}
    return Envelope({**own, **headers}, body, {"correlation_id": task_id})


def bare(**payload: Any) -> Envelope:
    """Return a message of protocol 1: all of it is in the body."""
    task_id = payload.setdefault("id", str(uuid.uuid4()))
    own = {"task": TASK, "args": [], "kwargs": USER, "retries": 0, "eta": None, "expires": None, "utc": True}
    own |= {"callbacks": None, "errbacks": None, "timelimit": [None, None], "taskset": None, "chord": None}
    return Envelope({}, json.dumps({**own, **payload}).encode(), {"correlation_id": task_id})


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def in_time(**span: float) -> str:
    """Return a time from now as Celery writes it."""
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def signature(task: str = TASK) -> dict[str, Any]:
    """Return a task that a message may ask to be called, on a queue of its choice."""
    options = {"queue": STOLEN, "task_id": str(uuid.uuid4())}
    return {
        "task": task,
        "args": [],
        "kwargs": USER,
        "options": options,
        "subtask_type": None,
        "immutable": True,
    }


def shape_of(name: str, envelope: Envelope, end: End, *, id: str | None = None) -> Shape:
    task_id = id or envelope.headers.get("id") or envelope.properties.get("correlation_id")
    return Shape(name, envelope, end, task_id if isinstance(task_id, str) else None)
