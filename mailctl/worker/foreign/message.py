"""A message of another app: what is known of it, and how it goes to the tail of a queue without a change.

On Redis it leaves the hash of what is not acknowledged and enters the list in one step, so that it is neither
lost nor doubled. On AMQP the broker confirms the copy before the original is acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqp.exceptions import MessageNacked
from kombu.transport import virtual
from kombu.utils.json import dumps

from mailctl.broker.inspector import count_ready_on
from mailctl.broker.messages import is_unclaimed_queue, unclaimed_queue
from mailctl.broker.unclaimed import COPIED_HEADER_NAMES, copy_of, declare_unclaimed
from mailctl.celery_app import BROKER_TIMEOUT_SECONDS
from mailctl.worker.foreign.confirms import Confirms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery

_log = logging.getLogger("mailctl.worker")
#: Headers that brokers and kombu set when they deliver a message again.
_REDELIVERY_HEADERS = frozenset({"redelivered", "x-delivery-count", "x-acquired-count", "x-death"})
#: Those that a copy has under another name.
_RENAMED_HEADERS = frozenset({*COPIED_HEADER_NAMES, *COPIED_HEADER_NAMES.values()})
#: Messages that go to the broker before it is asked for an answer.
BATCH = 100
#: Octets, or characters, of a body that are looked at at a time.
_PIECE = 2**20
#: Moves a message out of the hash of what is not acknowledged, unless another worker has restored it. What
#: may fail, in a Redis that is full, comes first.
_MOVE = """
local stored, beyond, octets = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[3], ARGV[4]
if not stored then return 0 end
if octets == '' then
    if stored:sub(1, 1) ~= '[' or stored:sub(-#beyond) ~= beyond then return 0 end
    octets = stored:sub(2, -1 - #beyond)
end
redis.call(ARGV[2], KEYS[3], octets)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""
#: Where `remember_raw` keeps what the driver has received.
RAW_ATTRIBUTE = "mailctl_raw"


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignMessage:
    """A message that this worker has received, has no task for, and has not acknowledged."""

    #: As kombu has received it.
    message: Any
    #: As it was on the broker: a dict where kombu plays the broker, else what py-amqp has received. None if
    #: Redis has it so among what is not acknowledged.
    raw: Any
    #: The queue that it was taken from.
    queue: str
    #: The name of its task, as its publisher has it; "" if it names none.
    task: str
    #: The same for every delivery and copy of the message, and for no other message.
    digest: str
    size: int

    @property
    def is_virtual(self) -> bool:
        """Whether kombu itself plays the broker, on Redis or in memory."""
        return isinstance(self.message.channel, virtual.Channel)

    @property
    def unclaimed_queue_name(self) -> str:
        """The queue for what nobody takes."""
        return self.queue if is_unclaimed_queue(self.queue) else unclaimed_queue(self.queue)


def read_foreign_message(message: Any, raw: Any, *, task: object, queue: str) -> ForeignMessage:
    """Return what is known of a message.

    Args:
        message: as kombu has received it.
        raw: as it was on the broker.
        task: whatever it has in place of a task's name.
        queue: the one that it was taken from.
    """
    headers, body = _headers_and_body(raw)
    known = {
        name: value for name, value in headers.items() if name not in _REDELIVERY_HEADERS | _RENAMED_HEADERS
    }
    digest = hashlib.sha256(f"{queue}\0{_canonical_text(known)}\0".encode("utf-8", "surrogatepass"))
    size = 0
    for piece in _pieces(body):
        digest.update(piece)
        size += len(piece)
    is_stored = _let_go(message, raw)
    return ForeignMessage(
        raw=None if is_stored else raw,
        message=message,
        queue=queue,
        task=str(task or ""),
        digest=digest.hexdigest(),
        size=0 if is_stored else size,
    )


def _let_go(message: Any, raw: Any) -> bool:
    """Keep no body of a message that Redis has as it was; return whether it has."""
    if not getattr(message.channel, "ack_emulation", False) or message._raw is not raw:
        return False
    message.body = message._raw = None
    return True


def remember_raw(channel: Any) -> None:
    """Let a channel of AMQP keep with each message what it has received, octet for octet."""
    channel.auto_decode = False
    make = channel.message_to_python

    def make_and_remember(raw: Any) -> Any:
        message = make(raw)
        setattr(message, RAW_ATTRIBUTE, raw)
        return message

    channel.message_to_python = make_and_remember


def move_all(
    messages: Sequence[ForeignMessage], queue: str, *, to_head: bool = False
) -> list[Exception | None]:
    """Move messages of a broker that kombu plays; in the thread that receives messages.

    Args:
        to_head: where the next message is taken, instead of the tail.

    Returns:
        For each message what kept it from being moved.
    """
    if messages and getattr(messages[0].message.channel, "ack_emulation", False):
        groups = (messages[start : start + BATCH] for start in range(0, len(messages), BATCH))
        return [error for group in groups for error in _move_on_redis(group, queue, to_head=to_head)]
    for each in messages:
        each.message.channel._put(queue, each.raw)
        each.message.ack()
    return [None] * len(messages)


def _move_on_redis(
    messages: Sequence[ForeignMessage], queue: str, *, to_head: bool
) -> list[Exception | None]:
    """Move messages in one round trip, each in one step."""
    channel = messages[0].message.channel
    with channel.conn_or_acquire() as client:
        pipe = client.pipeline(transaction=False)
        for each in messages:
            keys, arguments = _move_arguments(each, queue, to_head=to_head)
            pipe.eval(_MOVE, len(keys), *keys, *arguments)
        results = pipe.execute(raise_on_error=False)
    errors = [result if isinstance(result, Exception) else None for result in results]
    for each, error in zip(messages, errors, strict=True):
        if error is None:
            # Not by the message itself: another worker may have its copy by now, under the same tag.
            virtual.QoS.ack(channel.qos, each.message.delivery_tag)  # type: ignore[no-untyped-call]
            each.message._state = "ACK"
    return errors


def _move_arguments(foreign: ForeignMessage, queue: str, *, to_head: bool) -> tuple[list[str], list[Any]]:
    message = foreign.message
    channel, info = message.channel, message.delivery_info
    priority = channel._get_message_priority({"properties": message.properties})
    keys = [channel.unacked_key, channel.unacked_index_key, channel._q_for_pri(queue, priority)]
    # What kombu stores is [message, exchange, routing key].
    beyond = dumps(["", info["exchange"], info["routing_key"]])[len('[""') :]  # type: ignore[no-untyped-call]
    octets = "" if foreign.raw is None else dumps(foreign.raw).encode()  # type: ignore[no-untyped-call]
    # kombu does not know this command, and so does not add its prefix.
    return (
        [channel.global_keyprefix + key for key in keys],
        [message.delivery_tag, "RPUSH" if to_head else "LPUSH", beyond, octets],
    )


class MessageCopier:
    """Copies messages on AMQP, over a connection of its own; used by one thread.

    Args:
        app: the worker's.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._confirms: Confirms
        self._declared: set[str] = set()

    def copy_all(self, messages: Sequence[ForeignMessage], queue: str) -> list[Exception | None]:
        """Publish copies, and wait until the broker has confirmed them.

        Returns:
            For each message why it has no copy that is safe; it may have one all the same.

        Raises:
            Exception: of the driver, before the first is copied.
        """
        try:
            connection = self._open()
            if messages[0].unclaimed_queue_name == queue and queue not in self._declared:
                declare_unclaimed(connection, messages[0].queue)
                self._declared.add(queue)
        except Exception:
            self.close()
            raise
        copies = [_copy_or_error(each) for each in messages]
        published = iter(
            self._confirms.publish([each for each in copies if not isinstance(each, Exception)], queue)
        )
        errors = [each if isinstance(each, Exception) else next(published) for each in copies]
        if any(error is not None and not isinstance(error, MessageNacked) for error in errors):
            self.close()
        return errors

    def depth(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken."""
        try:
            return count_ready_on(self._open(), queue)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, in whatever state it is."""
        connection, self._connection = self._connection, None
        self._declared.clear()
        if connection is not None:
            try:
                connection.release()
            except Exception as error:
                _log.debug("a connection to the broker was lost: %s", type(error).__name__)

    def _open(self) -> Any:
        if self._connection is None:
            # Nobody would answer heartbeats while there is nothing to copy.
            self._connection = self._app.connection_for_write(
                heartbeat=0, connect_timeout=BROKER_TIMEOUT_SECONDS
            )
            # Which tries once; left to itself, kombu tries for ever.
            self._connection.connect()
            self._confirms = Confirms(self._connection.default_channel)
        return self._connection


def _copy_or_error(foreign: ForeignMessage) -> Any:
    """Return a copy to publish, or what keeps the driver from writing it."""
    try:
        copy = copy_of(foreign.raw)
        copy._serialize_properties()
    except Exception as error:
        return error
    return copy


def _canonical_text(headers: dict[Any, Any]) -> str:
    """Return the same text for the same headers, whatever they are."""
    try:
        return json.dumps(headers, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):  # such as names that are no UTF-8
        pass
    try:
        return repr(sorted(headers.items(), key=repr))
    except RecursionError:  # then the body has to do
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


def _pieces(body: bytes | memoryview | bytearray | str) -> Iterator[bytes]:
    """Yield a body as octets, without a copy of the whole."""
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        yield piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else bytes(piece)
