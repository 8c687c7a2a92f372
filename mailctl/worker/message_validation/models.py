"""The values of message validation: the message, and the decision on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JSON_CONTENT_TYPE = "application/json"


class InvalidMessage(Exception):
    """A message is invalid; the text says why."""


@dataclass(frozen=True, kw_only=True)
class IncomingMessage:
    """A message as the worker received it, with its body still compressed."""

    headers: Any
    properties: Any = field(default_factory=dict)
    body: Any = b""
    content_type: Any = JSON_CONTENT_TYPE
    content_encoding: Any = "utf-8"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The parts of a valid message that its task receives."""

    id: str
    #: The headers that Celery, tracers and mailctl use.
    headers: dict[str, Any]
    #: The arguments in the format of protocol 2, without Celery's options.
    body: Any
    reply_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The rejection of a message that cannot become an email."""

    #: The id of the message, or one that is derived from the message and always the same.
    id: str
    reason: str
