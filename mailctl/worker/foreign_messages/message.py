"""A message of another app that the worker received: its queue, its task, and a digest that identifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual

from mailctl.broker.amqp import COPIED_HEADER_NAMES
from mailctl.broker.messages import is_unclaimed_queue, unclaimed_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Headers that brokers and kombu set when they deliver a message again.
_REDELIVERY_HEADERS = frozenset({"redelivered", "x-delivery-count", "x-acquired-count", "x-death"})
#: Headers that have another name in a copy.
_RENAMED_HEADERS = frozenset({*COPIED_HEADER_NAMES, *COPIED_HEADER_NAMES.values()})
#: Messages that are sent to the broker before its answers are read.
BATCH_SIZE = 100
#: Bytes, or characters, of a body that are hashed at a time.
_CHUNK_SIZE = 2**20
#: The attribute in which `remember_raw` stores what the driver received.
RAW_ATTRIBUTE = "mailctl_raw"


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignMessage:
    """A message that this worker has received and not acknowledged, and for which it has no task."""

    #: The message as kombu received it.
    message: Any
    #: The message as it was on the broker: a dict where kombu emulates the broker, else a py-amqp message.
    #: None if Redis has it unchanged in the hash of unacknowledged messages.
    raw: Any
    #: The queue that it came from.
    queue: str
    #: The name of its task; "" if it names none.
    task: str
    #: Equal for every delivery and copy of this message, and different for any other message.
    digest: str
    #: Bytes of the body that this process holds.
    size: int

    @property
    def is_virtual(self) -> bool:
        """Whether kombu emulates the broker, on Redis or in memory."""
        return isinstance(self.message.channel, virtual.Channel)

    @property
    def unclaimed_queue_name(self) -> str:
        """The queue for unclaimed messages."""
        return self.queue if is_unclaimed_queue(self.queue) else unclaimed_queue(self.queue)


def read_foreign_message(message: Any, raw: Any, *, task: object, queue: str) -> ForeignMessage:
    """Return a message of another app, with its digest.

    Args:
        message: the message as kombu received it.
        raw: the message as it was on the broker.
        task: the value that it has for the name of its task, of any type.
        queue: the queue that it came from.
    """
    headers, body = _headers_and_body(raw)
    own_headers = {
        name: value for name, value in headers.items() if name not in _REDELIVERY_HEADERS | _RENAMED_HEADERS
    }
    digest = hashlib.sha256(f"{queue}\0{_canonical_text(own_headers)}\0".encode("utf-8", "surrogatepass"))
    size = 0
    for chunk in _chunks(body):
        digest.update(chunk)
        size += len(chunk)
    is_on_redis = _drop_stored_body(message, raw)
    return ForeignMessage(
        raw=None if is_on_redis else raw,
        message=message,
        queue=queue,
        task=str(task or ""),
        digest=digest.hexdigest(),
        size=0 if is_on_redis else size,
    )


def remember_raw(channel: Any) -> None:
    """Make an AMQP channel store with each message what the driver received, byte for byte."""
    channel.auto_decode = False
    convert = channel.message_to_python

    def convert_and_remember(raw: Any) -> Any:
        message = convert(raw)
        setattr(message, RAW_ATTRIBUTE, raw)
        return message

    channel.message_to_python = convert_and_remember


def _drop_stored_body(message: Any, raw: Any) -> bool:
    """Free the body of a message that Redis has unchanged, and return whether that is so."""
    if not getattr(message.channel, "ack_emulation", False) or message._raw is not raw:
        return False
    message.body = message._raw = None
    return True


def _canonical_text(headers: dict[Any, Any]) -> str:
    """Return a text that is equal for equal headers, whatever they contain."""
    try:
        return json.dumps(headers, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):  # such as names that are not UTF-8
        pass
    try:
        return repr(sorted(headers.items(), key=repr))
    except RecursionError:  # then the body alone identifies the message
        return ""


def _headers_and_body(raw: Any) -> tuple[dict[Any, Any], bytes | memoryview | bytearray | str]:
    """Return headers and body as they were received."""
    if isinstance(raw, dict):
        headers, body = raw.get("headers"), raw.get("body")
    else:
        headers, body = raw.properties.get("application_headers"), raw.body
    if not isinstance(body, bytes | memoryview | bytearray | str):
        body = str(body)
    return headers if isinstance(headers, dict) else {"": headers}, body


def _chunks(body: bytes | memoryview | bytearray | str) -> Iterator[bytes]:
    """Yield a body in chunks of bytes, so that the whole is not copied."""
    for start in range(0, len(body), _CHUNK_SIZE):
        chunk = body[start : start + _CHUNK_SIZE]
        yield chunk.encode("utf-8", "surrogatepass") if isinstance(chunk, str) else bytes(chunk)
