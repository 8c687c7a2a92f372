"""What the broker carries, as far as an operator may see it: whose a message is and what it is for."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.catalog import BUILT_IN_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: Delivers many emails of a campaign.
BATCH_TASK = "mailctl.deliver_batch"
#: Characters of a name that somebody else chose which are shown, and names in one line.
_MAX_NAME_LENGTH = 100
_MAX_NAMES = 5
#: What the queue is called that takes what nobody takes from another, after the name of that one.
_UNCLAIMED_SUFFIX = ".unclaimed"
#: Messages are never so long that this matters; what is longer is not looked into.
_MAX_BODY_LENGTH = 1_000_000
_MAX_MESSAGE_LENGTH = 2 * _MAX_BODY_LENGTH


@dataclass(frozen=True, kw_only=True)
class CeleryMessage:
    """One message of a Celery queue."""

    task_id: str
    #: The name of the task; "" if it is not one of Celery's.
    task: str
    queue: str
    #: The emails of a delivery log that it is for.
    email_ids: tuple[str, ...]
    #: Whom it is for, if the message says so itself.
    to: str | None
    #: Whether mailctl has published it.
    is_from_mailctl: bool

    @property
    def kind(self) -> str | None:
        """The kind of email that its task carries; None for tasks of other things."""
        return next((kind.name for kind in BUILT_IN_KINDS.values() if kind.task == self.task), None)

    def is_for(self, task_id: str) -> bool:
        """Whether a task, or an email in a batch, is what it carries."""
        return task_id == self.task_id or task_id in self.email_ids


@dataclass(frozen=True, kw_only=True)
class MessagePosition:
    """Where a message was found."""

    queue: str
    #: How many messages are before it; None if a worker has it.
    ahead: int | None
    message: CeleryMessage


@dataclass(frozen=True, kw_only=True)
class MessageSearchResult:
    """What looking for a message came to."""

    #: None if it was not found.
    position: MessagePosition | None
    #: Whether everything was looked through: what was not found is not there.
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class BrokerQueue:
    """What the broker has of one queue."""

    queue: str
    #: Messages that no worker has taken.
    ready: int
    #: The first of them, in the order in which they are taken; None where one cannot look.
    messages: tuple[CeleryMessage, ...] | None
    #: What workers have and have not acknowledged; None where the broker does not tell.
    unacked: tuple[CeleryMessage, ...] | None
    #: Messages of other apps that were moved from it to `<queue>.unclaimed`.
    unclaimed: int


def unclaimed_queue(queue: str) -> str:
    """Return the queue that takes what nobody takes from `queue`."""
    return queue + _UNCLAIMED_SUFFIX


def is_unclaimed_queue(queue: str) -> bool:
    """Whether a queue is one of those."""
    return queue.endswith(_UNCLAIMED_SUFFIX)


def quoted_name(name: object) -> str:
    """Return a name that somebody else chose as a line may show it: quoted, cut, no control characters."""
    return repr(str(name)[:_MAX_NAME_LENGTH])


def summarize_tasks(tasks: Collection[str]) -> str:
    """Return how many messages there are and for which tasks, by the name of the task of each."""
    names = Counter(quoted_name(task) if task else "no task" for task in tasks).most_common()
    parts = [name if number == 1 else f"{name} x{number}" for name, number in names[:_MAX_NAMES]]
    more = [f"{len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return f"{len(tasks)} for {', '.join([*parts, *more])}"


def read_message(raw: bytes | str, *, queue: str = "") -> CeleryMessage:
    """Return what a message in Redis says; one that cannot be read is a message of nobody's.

    Args:
        queue: where it was found; else the message itself says where it belongs.
    """
    return _message_of(_mapping(_parse_json(raw)), queue=queue)


def read_unacked(raw: bytes | str) -> CeleryMessage:
    """Return a message that Redis keeps because a worker has it."""
    stored = _parse_json(raw)
    envelope = stored[0] if isinstance(stored, list) and stored and isinstance(stored[0], dict) else {}
    return _message_of(envelope, queue="")


def _message_of(envelope: Mapping[str, Any], *, queue: str) -> CeleryMessage:
    headers = _mapping(envelope.get("headers"))
    task, task_id = str(headers.get("task") or ""), str(headers.get("id") or "")
    delivery = _mapping(_mapping(envelope.get("properties")).get("delivery_info"))
    args, kwargs = _arguments(envelope)
    batch = args[0] if task == BATCH_TASK and args and isinstance(args[0], list) else []
    return CeleryMessage(
        task_id=task_id,
        task=task,
        queue=queue or str(delivery.get("routing_key") or ""),
        email_ids=tuple(map(str, batch)) or ((task_id,) if REFERENCE_ARGUMENT in kwargs else ()),
        to=_recipient(args, kwargs),
        is_from_mailctl="mailctl" in headers or task == BATCH_TASK,
    )


def _arguments(envelope: Mapping[str, Any]) -> tuple[list[Any], Mapping[str, Any]]:
    body = envelope.get("body")
    if not isinstance(body, str) or len(body) > _MAX_BODY_LENGTH:
        return [], {}
    try:
        found = _parse_json(base64.b64decode(body))
    except binascii.Error:
        return [], {}
    if not isinstance(found, list) or len(found) < 2 or not isinstance(found[0], list):
        return [], {}
    return found[0], _mapping(found[1])


def _parse_json(raw: bytes | str) -> Any:
    """Return what JSON says; None if it is none, or too long or deep to be a message of mailctl's."""
    if len(raw) > _MAX_MESSAGE_LENGTH:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _recipient(args: list[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return the address in the arguments of a wire task; only the first of several."""
    user = kwargs.get("user_data") or (args[0] if args else None)
    recipients = kwargs.get("recipients") or (args[1] if len(args) > 1 else None)
    if isinstance(recipients, list) and recipients:
        user = recipients[0]
    address = _mapping(user).get("email")
    return address if isinstance(address, str) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
