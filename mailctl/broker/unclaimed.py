"""Messages of other apps that nobody took: counted, and put back on the queue they came from.

A worker moves a message for a task that its app does not have to the queue `<queue>.unclaimed`, after it has
put it back a few times and no worker of its own app took it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import amqp
from kombu.transport import virtual

from mailctl.broker import redis
from mailctl.broker.inspector import (
    NO_SUCH_QUEUE,
    broker_error,
    count_ready,
    count_ready_on,
    driver_errors,
    fail_fast_connection,
)
from mailctl.broker.messages import is_unclaimed_queue, unclaimed_queue
from mailctl.celery_app import has_memory_broker
from mailctl.errors import NotFound
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from celery import Celery

#: Seconds that RabbitMQ has to confirm a message.
CONFIRM_SECONDS = 10.0
#: What RabbitMQ replies to a message that must reach a queue, and finds none.
_NO_ROUTE = 312
_REDIS = "redis"
#: Headers that a quorum queue adds when it delivers a message again.
_QUORUM_QUEUE_HEADERS = frozenset({"x-delivery-count", "x-acquired-count"})
#: Headers by which RabbitMQ publishes to more queues, and the names under which a copy has them.
COPIED_HEADER_NAMES = {"CC": "mailctl_cc", "BCC": "mailctl_bcc"}
#: Properties that a copy does not have: RabbitMQ takes the name of a user from that user alone.
_PUBLISHER_PROPERTIES = frozenset({"user_id"})


class UnclaimedMessages:
    """Looks after the unclaimed messages of a broker.

    Args:
        app: any Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def counts(self, queues: Collection[str]) -> dict[str, int]:
        """Return how many unclaimed messages came from each queue; queues without any are left out.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if has_memory_broker(self._app):
            return {}
        names = {queue: unclaimed_queue(queue) for queue in queues if not is_unclaimed_queue(queue)}
        found = count_ready(self._app, names.values())
        return {queue: found[name] for queue, name in names.items() if found[name]}

    def restore(self, queue: str) -> int:
        """Put the unclaimed messages of a queue back on it, in order; return how many.

        Those that a worker moves aside meanwhile stay.

        Raises:
            BrokerUnavailable: the broker does not answer; what was put back before stays there.
            NotFound: the broker has no such queue.
        """
        with _open_connection(self._app) as connection:
            channel = connection.default_channel
            if connection.transport.driver_type == _REDIS:
                return _restore_on_redis(channel, queue)
            if isinstance(channel, virtual.Channel):
                return _restore_on_virtual(channel, queue)
            return _restore_on_amqp(connection, channel, queue)


def restore_command(queue: str) -> str:
    """Return the command that puts unclaimed messages back on a queue."""
    return str(mailctl_command("queue", "restore", arguments=[queue]))


def copy_message(channel: Any, message: Any, queue: str) -> None:
    """Publish an AMQP message once more, to one queue, and wait until the broker has confirmed it.

    Args:
        message: as py-amqp has received it, over a channel that decodes no bodies.

    Raises:
        ChannelError: there is no such queue.
    """
    channel.basic_publish_confirm(
        copy_of(message), exchange="", routing_key=queue, mandatory=True, confirm_timeout=CONFIRM_SECONDS
    )


def copy_of(message: Any) -> Any:
    """Return a copy of an AMQP message, to publish.

    It is the message without its `user_id`; its headers `CC` and `BCC` have other names.
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
    """Make the queue for unclaimed messages, durable, unless there is one, of whatever kind."""
    # A channel of its own: the broker closes it when there is no such queue.
    with connection.channel() as channel:
        try:
            channel.queue_declare(queue=unclaimed_queue(queue), passive=True)
            return
        except connection.channel_errors as error:
            if getattr(error, "code", None) != NO_SUCH_QUEUE:
                raise
    with connection.channel() as channel:
        channel.queue_declare(queue=unclaimed_queue(queue), durable=True, auto_delete=False)


def _restore_on_redis(channel: Any, queue: str) -> int:
    """Move messages from list to list, one atomic step each, those of each priority to their own list."""
    # kombu does not know this command, and so does not add its prefix.
    prefix = channel.global_keyprefix
    restored = 0
    for source, target in zip(
        redis.queue_keys(channel, unclaimed_queue(queue)), redis.queue_keys(channel, queue), strict=True
    ):
        for _ in range(channel.client.llen(source)):
            if channel.client.rpoplpush(prefix + source, prefix + target) is None:
                break
            restored += 1
    return restored


def _restore_on_virtual(channel: Any, queue: str) -> int:
    found = int(channel._size(unclaimed_queue(queue)))
    for _ in range(found):
        channel._put(queue, channel._get(unclaimed_queue(queue)))
    return found


def _restore_on_amqp(connection: Any, channel: Any, queue: str) -> int:
    channel.auto_decode = False
    found = count_ready_on(connection, unclaimed_queue(queue))
    for number in range(found):
        message = channel.basic_get(unclaimed_queue(queue))
        if message is None:
            return number
        try:
            copy_message(channel, message, queue)
        except connection.channel_errors as error:
            if getattr(error, "reply_code", None) != _NO_ROUTE:
                raise
            raise NotFound(
                f"There is no queue {queue!r} on the broker.",
                fix="Start the app that consumes it, then repeat.",
            ) from error
        channel.basic_ack(message.delivery_tag)
    return found


@contextmanager
def _open_connection(app: Celery) -> Iterator[Any]:
    connection = fail_fast_connection(app)
    with connection:
        try:
            yield connection
        except driver_errors(connection) as error:
            raise broker_error(connection, error) from error
