"""Messages on the broker as an operator may see them: the task, the emails and the app of each."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.catalog import BUILT_IN_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The task that delivers a batch of emails of a campaign.
BATCH_TASK = "mailctl.deliver_batch"
#: The start of the names under which checks write to a broker or a result backend.
PROBE_PREFIX = "mailctl.probe."
#: The body of a probe: neither a task nor anything else.
PROBE_BODY = b"mailctl checks that this broker accepts messages"
#: Characters of a name from another program that are shown, and the number of names in one line.
_MAX_NAME_LENGTH = 100
_MAX_NAMES = 5
#: A queue name and this suffix name the queue for its unclaimed messages.
_UNCLAIMED_SUFFIX = ".unclaimed"
#: Characters of a body, and of a whole message; longer ones are not parsed.
_MAX_BODY_LENGTH = 1_000_000
_MAX_MESSAGE_LENGTH = 2 * _MAX_BODY_LENGTH


@dataclass(frozen=True, kw_only=True)
class CeleryMessage:
    """One message of a Celery queue."""

    task_id: str
    #: The name of the task; "" if the message names none.
    task: str
    queue: str
    #: The ids of the emails that it delivers.
    email_ids: tuple[str, ...]
    #: The address of the recipient, if the message contains one.
    to: str | None
    #: Whether mailctl published it.
    is_from_mailctl: bool

    @property
    def kind(self) -> str | None:
        """The kind of email that the task delivers; None for other tasks."""
        return next((kind.name for kind in BUILT_IN_KINDS.values() if kind.task == self.task), None)

    def is_for(self, task_id: str) -> bool:
        """Whether this is the message of a task, or of a batch that contains an email with this id."""
        return task_id == self.task_id or task_id in self.email_ids


@dataclass(frozen=True, kw_only=True)
class MessagePosition:
    """The place in which a message was found."""

    queue: str
    #: The number of messages before it; None if a worker has taken it.
    ahead: int | None
    message: CeleryMessage


@dataclass(frozen=True, kw_only=True)
class MessageSearchResult:
    """The result of a search for a message."""

    #: None if the message was not found.
    position: MessagePosition | None
    #: Whether every message was examined: then a message that was not found does not exist.
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class BrokerQueue:
    """The contents of one queue on the broker."""

    queue: str
    #: Messages that no worker has taken.
    ready: int
    #: The first of them, in the order of delivery; None if the broker does not show messages.
    messages: tuple[CeleryMessage, ...] | None
    #: Messages that workers have not acknowledged; None if the broker does not show them.
    unacked: tuple[CeleryMessage, ...] | None
    #: The number of messages of other apps that were moved to `<queue>.unclaimed`.
    unclaimed: int


def unclaimed_queue(queue: str) -> str:
    """Return the name of the queue for the unclaimed messages of a queue."""
    return queue + _UNCLAIMED_SUFFIX


def is_unclaimed_queue(queue: str) -> bool:
    """Whether a queue is one for unclaimed messages."""
    return queue.endswith(_UNCLAIMED_SUFFIX)


def quoted_name(name: object) -> str:
    """Return a name from another program in quotes, shortened, with its control characters escaped."""
    return repr(str(name)[:_MAX_NAME_LENGTH])


def summarize_tasks(tasks: Collection[str]) -> str:
    """Return the number of messages and their tasks, such as "3 for 'a.task' x2, 'b.task'".

    Args:
        tasks: the task name of each message; "" for none.
    """
    names = Counter(quoted_name(task) if task else "no task" for task in tasks).most_common()
    parts = [name if number == 1 else f"{name} x{number}" for name, number in names[:_MAX_NAMES]]
    more = [f"{len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return f"{len(tasks)} for {', '.join([*parts, *more])}"


def read_message(raw: bytes | str, *, queue: str = "") -> CeleryMessage:
    """Return a message from a list in Redis; one that cannot be parsed has no task and no id.

    Args:
        raw: the element of the list.
        queue: the queue that the list belongs to; "" takes the queue that the message names.
    """
    return _message_of(_mapping(_parse_json(raw)), queue=queue)


def read_unacked(raw: bytes | str) -> CeleryMessage:
    """Return a message from the hash of unacknowledged messages in Redis."""
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
    """Return the value of a JSON text; None if it is invalid, or too long or too deep for a message."""
    if len(raw) > _MAX_MESSAGE_LENGTH:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _recipient(args: list[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return the address of the first recipient in the arguments of a task."""
    user = kwargs.get("user_data") or (args[0] if args else None)
    recipients = kwargs.get("recipients") or (args[1] if len(args) > 1 else None)
    if isinstance(recipients, list) and recipients:
        user = recipients[0]
    address = _mapping(user).get("email")
    return address if isinstance(address, str) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def probe_name() -> str:
    """Return a name for a queue or a result that nobody else uses."""
    return f"{PROBE_PREFIX}{uuid.uuid4().hex}"
