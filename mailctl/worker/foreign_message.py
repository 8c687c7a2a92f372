"""A message of another app: what is known of it, and how it goes to the tail of a queue without a change.

On Redis it leaves the hash of what is not acknowledged and enters the list in one transaction, so that it is
neither lost nor doubled. On AMQP the broker confirms the copy before the original is acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual
from kombu.utils.json import dumps

from mailctl.carried import is_unclaimed_queue, unclaimed_queue
from mailctl.celery_app import BROKER_SECONDS
from mailctl.unclaimed import COPIED_AS, copy_message, declare_unclaimed

if TYPE_CHECKING:
    from celery import Celery

_log = logging.getLogger("mailctl.worker")
#: Headers that brokers and kombu set when they deliver a message again.
_VOLATILE = frozenset({"redelivered", "x-delivery-count", "x-acquired-count", "x-death"})
#: Those that a copy has under another name.
_RENAMED = frozenset({*COPIED_AS, *COPIED_AS.values()})
#: Where `remember_raw` keeps what the driver has received.
RAW = "mailctl_raw"


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignMessage:
    """A message that this worker has received, has no task for, and has not acknowledged."""

    #: As kombu has received it.
    message: Any
    #: As it was on the broker: a dict where kombu plays the broker, else what py-amqp has received.
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
    def aside(self) -> str:
        """The queue for what nobody takes."""
        return self.queue if is_unclaimed_queue(self.queue) else unclaimed_queue(self.queue)


def read_foreign(message: Any, raw: Any, *, task: object, queue: str) -> ForeignMessage:
    """Return what is known of a message.

    Args:
        message: as kombu has received it.
        raw: as it was on the broker.
        task: whatever it has in place of a task's name.
        queue: the one that it was taken from.
    """
    headers, body = _parts(raw)
    known = {name: value for name, value in headers.items() if name not in _VOLATILE | _RENAMED}
    beginning = f"{queue}\0{_canonical(known)}\0".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(beginning + body).hexdigest()
    return ForeignMessage(
        raw=raw, message=message, queue=queue, task=str(task or ""), digest=digest, size=len(body)
    )


def remember_raw(channel: Any) -> None:
    """Let a channel of AMQP keep with each message what it has received, octet for octet."""
    channel.auto_decode = False
    make = channel.message_to_python

    def make_and_remember(raw: Any) -> Any:
        message = make(raw)
        setattr(message, RAW, raw)
        return message

    channel.message_to_python = make_and_remember


def move(foreign: ForeignMessage, queue: str, *, to_head: bool = False) -> None:
    """Move a message of a broker that kombu plays; in the thread that receives messages.

    Args:
        to_head: where the next message is taken, instead of the tail.
    """
    message: Any = foreign.message
    channel = message.channel
    if getattr(channel, "ack_emulation", False):
        with channel.conn_or_acquire() as client:
            client.transaction(_redis_move(foreign, queue, to_head=to_head), channel.unacked_key)
        # Not by the message itself: another worker may have its copy by now, under the same tag.
        virtual.QoS.ack(channel.qos, message.delivery_tag)  # type: ignore[no-untyped-call]
        message._state = "ACK"
    else:
        channel._put(queue, foreign.raw)
        message.ack()


def _redis_move(foreign: ForeignMessage, queue: str, *, to_head: bool) -> Any:
    channel, tag = foreign.message.channel, foreign.message.delivery_tag
    priority = channel._get_message_priority({"properties": foreign.message.properties})
    key, octets = channel._q_for_pri(queue, priority), dumps(foreign.raw)  # type: ignore[no-untyped-call]

    def transaction(pipe: Any) -> None:
        is_ours = pipe.hget(channel.unacked_key, tag) is not None
        pipe.multi()
        pipe.zrem(channel.unacked_index_key, tag)
        pipe.hdel(channel.unacked_key, tag)
        if is_ours:  # else another worker has restored it
            (pipe.rpush if to_head else pipe.lpush)(key, octets)

    return transaction


class Copier:
    """Copies messages on AMQP, over a connection of its own; used by one thread.

    Args:
        app: the worker's.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._declared: set[str] = set()

    def copy(self, foreign: ForeignMessage, queue: str) -> None:
        """Publish a copy, and wait until the broker has confirmed it.

        Raises:
            Exception: of the driver, when the broker is in trouble; there may be a copy then.
        """
        try:
            connection = self._open()
            if queue == foreign.aside and queue not in self._declared:
                declare_unclaimed(connection, foreign.queue)
                self._declared.add(queue)
            copy_message(connection.default_channel, foreign.raw, queue)
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
            self._connection = self._app.connection_for_write(heartbeat=0, connect_timeout=BROKER_SECONDS)
            # Which tries once; left to itself, kombu tries for ever.
            self._connection.connect()
        return self._connection


def _canonical(headers: dict[Any, Any]) -> str:
    """Return the same text for the same headers, whatever they are."""
    try:
        return json.dumps(headers, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):  # such as names that are no UTF-8
        pass
    try:
        return repr(sorted(headers.items(), key=repr))
    except RecursionError:  # then the body has to do
        return ""


def _parts(raw: Any) -> tuple[dict[Any, Any], bytes]:
    """Return headers and body as they were received."""
    if isinstance(raw, dict):
        headers, body = raw.get("headers"), raw.get("body")
    else:
        headers, body = raw.properties.get("application_headers"), raw.body
    if isinstance(body, bytes | memoryview | bytearray):
        body = bytes(body)
    else:
        body = str(body).encode("utf-8", "surrogatepass")
    return headers if isinstance(headers, dict) else {"": headers}, body
