"""The broker adapter for AMQP 0-9-1, such as RabbitMQ, and the copying of messages from queue to queue.

AMQP has no command that moves a message. A message is copied, the broker confirms the copy, and only then
is the original acknowledged: a crash in between leaves two messages, never none.
"""

from __future__ import annotations

from typing import Any

import amqp
from typing_extensions import override

from mailctl.broker.confirms import CONFIRM_SECONDS, REPLY_SECONDS, Confirms
from mailctl.broker.counting import CountingAdapter, count_messages, is_missing_queue
from mailctl.broker.messages import PROBE_BODY, probe_name, unclaimed_queue
from mailctl.errors import NotFound

#: The reply code for a mandatory message that no queue receives.
_NO_ROUTE = 312
#: Headers that a quorum queue adds when it delivers a message again.
_QUORUM_QUEUE_HEADERS = frozenset({"x-delivery-count", "x-acquired-count"})
#: Headers that make RabbitMQ publish to more queues, and their names in a copy.
COPIED_HEADER_NAMES = {"CC": "mailctl_cc", "BCC": "mailctl_bcc"}
#: Properties that a copy does not have: RabbitMQ accepts a `user_id` from that user alone.
_PUBLISHER_PROPERTIES = frozenset({"user_id"})


class AmqpAdapter(CountingAdapter):
    """Queries a broker over AMQP, and restores messages by copying them."""

    @override
    def publish_probe(self) -> bool:
        """Publish a message to a queue that does not exist: the broker confirms it and drops it."""
        channel = self._connection.default_channel
        confirms = Confirms(channel, timeout_seconds=REPLY_SECONDS)
        confirms.expect("probe")
        channel._basic_publish(amqp.Message(PROBE_BODY), exchange="", routing_key=probe_name())
        for error in confirms.wait().values():
            raise error
        return True

    def restore_unclaimed(self, queue: str) -> int:
        """Copy the unclaimed messages of a queue back to it, and return their number.

        Raises:
            NotFound: the broker has no such queue.
        """
        channel, source = self._connection.default_channel, unclaimed_queue(queue)
        channel.auto_decode = False
        found = count_messages(self._connection, source)
        for restored in range(found):
            message = channel.basic_get(source)
            if message is None:
                return restored
            self._copy_or_explain(channel, message, queue)
            channel.basic_ack(message.delivery_tag)
        return found

    def _copy_or_explain(self, channel: Any, message: Any, queue: str) -> None:
        try:
            copy_message(channel, message, queue)
        except self._connection.channel_errors as error:
            if getattr(error, "reply_code", None) != _NO_ROUTE:
                raise
            raise NotFound(
                f"There is no queue {queue!r} on the broker.",
                fix="Start the app that consumes it, then repeat.",
            ) from error


def copy_message(channel: Any, message: Any, queue: str) -> None:
    """Publish a copy of a message to one queue, and wait until the broker confirms it.

    Args:
        channel: a py-amqp channel that does not decode bodies.
        message: the message as py-amqp received it.
        queue: the name of the queue.

    Raises:
        ChannelError: there is no such queue.
    """
    channel.basic_publish_confirm(
        copy_of(message), exchange="", routing_key=queue, mandatory=True, confirm_timeout=CONFIRM_SECONDS
    )


def copy_of(message: Any) -> Any:
    """Return a copy of a message to publish.

    The copy has no `user_id`, and its headers `CC` and `BCC` have other names: see `COPIED_HEADER_NAMES`.
    """
    properties = {
        name: value for name, value in message.properties.items() if name not in _PUBLISHER_PROPERTIES
    }
    if headers := properties.get("application_headers"):
        properties["application_headers"] = {
            COPIED_HEADER_NAMES.get(name, name): value
            for name, value in headers.items()
            if name not in _QUORUM_QUEUE_HEADERS
        }
    return amqp.Message(bytes(message.body), **properties)


def declare_unclaimed(connection: Any, queue: str) -> None:
    """Declare the durable queue for unclaimed messages, unless there is one of whatever type."""
    # On a channel of its own: the broker closes the channel if there is no such queue.
    with connection.channel() as channel:
        try:
            channel.queue_declare(queue=unclaimed_queue(queue), passive=True)
            return
        except connection.channel_errors as error:
            if not is_missing_queue(error):
                raise
    with connection.channel() as channel:
        channel.queue_declare(queue=unclaimed_queue(queue), durable=True, auto_delete=False)
