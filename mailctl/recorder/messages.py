"""Reads messages that are being published, from Celery's signals, in both versions of its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class PublishedMessage:
    """A message for a task."""

    id: str
    args: Sequence[object]
    kwargs: Mapping[str, object]
    queue: str
    eta: datetime | None
    expires: datetime | None
    #: Whether mailctl itself publishes it, for an email that is already in the delivery log.
    is_from_mailctl: bool


def read_message(
    *, body: Any, headers: Mapping[str, Any] | None, routing_key: str | None, declare: Sequence[Any] | None
) -> PublishedMessage | None:
    """Return the message that a signal of Celery is about; None if its format is unknown.

    Args:
        body: the body, before it is serialized: a dict in protocol 1.
        headers: the headers, which hold the options in protocol 2.
        routing_key: the routing key, which names the queue if none is declared.
        declare: the queues that are declared before it is published.
    """
    options = body if isinstance(body, dict) else headers or {}
    args, kwargs = _arguments(body)
    if not isinstance(options.get("id"), str) or args is None:
        return None
    queue = declare[0] if declare else None
    return PublishedMessage(
        id=options["id"],
        args=args,
        kwargs=kwargs,
        queue=str(getattr(queue, "name", None) or routing_key or ""),
        eta=parse_time(options.get("eta")),
        expires=parse_time(options.get("expires")),
        is_from_mailctl="mailctl" in (headers or {}),
    )


def parse_time(value: object) -> datetime | None:
    """Return a time of a message, with its time zone; None if there is none, or it cannot be parsed."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _arguments(body: Any) -> tuple[Sequence[object] | None, Mapping[str, object]]:
    if isinstance(body, dict):
        return list(body.get("args") or ()), dict(body.get("kwargs") or {})
    if isinstance(body, tuple | list) and len(body) == len(("args", "kwargs", "embed")):
        return list(body[0] or ()), dict(body[1] or {})
    return None, {}
