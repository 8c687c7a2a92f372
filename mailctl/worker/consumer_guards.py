"""Guards around the consumer of a worker: an invalid message costs one line in the log, and nothing else.

Without them Celery logs whole bodies, and bytes that kombu or py-amqp cannot decode end the worker.
"""

from __future__ import annotations

import logging
from functools import partial, wraps
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.concurrency import base as celery_pool
from celery.worker import pidbox as celery_pidbox
from celery.worker import request as celery_request
from celery.worker.consumer import consumer as celery_consumer
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError
from typing_extensions import override

from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.broker.messages import quoted_name
from mailctl.celery_app import is_built_in_app
from mailctl.worker.broker_refusals import reconnect_after_refusals
from mailctl.worker.consumer_activity import ACTIVITY_ATTRIBUTE, ConsumerActivity
from mailctl.worker.consumer_connection import use_consumer_settings
from mailctl.worker.message_strategy import NO_TASK_TEXT, MessageReceiver
from mailctl.worker.message_validation import MAX_SERVICE_BODY, amqp_frames, decompression
from mailctl.worker.message_validation.redis_messages import RepairedMessage, repair_message
from mailctl.worker.redis_pop import pop_of
from mailctl.worker.redis_unacked import POPPED_HANDLER_ATTRIBUTE, guard_unacked_messages

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
_FILTERED_LOGGERS: tuple[logging.Logger, ...] = (
    celery_consumer.logger,
    celery_pidbox.logger,
    celery_request.logger,
    kombu_redis.logger,
)
#: The texts that replace log messages of Celery and kombu, which contain the body.
_REPLACEMENT_TEXTS = {
    celery_consumer.UNKNOWN_FORMAT: NO_TASK_TEXT,
    celery_consumer.INVALID_TASK_ERROR: "dropped a message with options that Celery cannot use",
    celery_consumer.MESSAGE_DECODE_ERROR: "dropped a message that cannot be decoded",
    "Cannot process event on channel %r: %s": "dropped an invalid broadcast message",
    "Control command error: %r": "dropped a broadcast message that is not a control command",
    "No such control command: %s": "dropped a broadcast message with an unknown control command",
    "Could not restore message: %r": "cannot put an unacknowledged message back on its queue",
}
#: Messages of kombu about a connection that was lost while a task ran, and the text that replaces them.
_LOST_CONNECTION_FORMATS = ("Couldn't ack %r, reason:%r", "Couldn't reject %r, reason: %r")
_LOST_CONNECTION_TEXT = (
    "a connection was lost before its last message was acknowledged; the broker sends it again"
)
#: What kombu repeats by itself, and logs with a traceback.
_REFUSED_TEXT = "the broker refuses a request (%s), which is repeated"


class MessageGuardStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Guards the consumer after each connection, before it receives the first message."""

    requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        reconnect_after_refusals(parent)
        use_consumer_settings(parent)
        guard_unacked_messages(parent)
        self._activity = ConsumerActivity()
        setattr(parent, ACTIVITY_ATTRIBUTE, self._activity)

    def start(self, parent: Any) -> None:
        """Install the guards."""
        keep_bodies_out_of_logs()
        if parent.event_dispatcher is not None:  # as it is without heartbeats, gossip and events
            send_events_once(parent.event_dispatcher)
        errors = (*parent.connection_errors, *parent.channel_errors)
        decompression.limit_kombu_decompression(MAX_SERVICE_BODY)
        channel = parent.task_consumer.channel
        channel.Message = keep_compressed(channel.Message)
        receiver = MessageReceiver(
            parent,
            type(parent).create_task_handler(parent),
            is_built_in=is_built_in_app(parent.app),
            errors=errors,
            activity=self._activity,
        )
        self._activity.connections += 1
        parent.create_task_handler = lambda: receiver.receive
        parent.task_consumer.on_decode_error = receiver.receive_undecodable
        _GUARDS[broker_type_of(parent.connection)](channel, errors)


def keep_bodies_out_of_logs() -> None:
    """Keep Celery and kombu from logging the bodies of messages, which may contain links, at any level."""
    for logger in _FILTERED_LOGGERS:
        logger.addFilter(_BODY_FILTER)  # adding it again has no effect
    # At DEBUG this logger prints the body of each message that the pool receives.
    celery_pool.logger.setLevel(logging.INFO)


def send_events_once(dispatcher: Any) -> None:
    """Let events that the broker does not take wait for the next connection.

    Celery repeats its heartbeat until the broker takes it, in the thread of the event loop: while a broker is
    silent, the worker would not even end.
    """
    send = dispatcher.send

    def send_once(*arguments: Any, retry: bool = False, **options: Any) -> None:  # noqa: ARG001 - never
        send(*arguments, **options)

    dispatcher.send = send_once


def keep_compressed(base: type[Any]) -> type[Any]:
    """Return a subclass of a message class whose bodies stay compressed until a size limit is known."""

    class CompressedMessage(base):  # type: ignore[misc]
        """A message with its body as it is on the broker."""

        def __init__(self, raw: Any, channel: Any = None, **options: Any) -> None:
            headers = _headers_of(raw)
            compression = headers.pop("compression", None)
            try:
                super().__init__(raw, channel=channel, **options)
            except ValueError:  # the body is not Base64
                super().__init__({**raw, "body": ""}, channel=channel, **options)
            finally:
                if isinstance(raw, RepairedMessage):
                    self._raw = raw.stored
                if compression is not None:
                    headers["compression"] = compression
                    self.headers = headers

    return CompressedMessage


def tolerate_lost_connection(channel: Any) -> None:
    """Make a Redis channel raise a connection error when it is used after its connection is lost.

    Celery handles that error, and Redis still has the messages. Without this, kombu fails with an
    AttributeError when a task acknowledges a message from the lost connection, and the worker ends.
    """
    get_pool = channel._get_pool

    @wraps(get_pool)
    def get_pool_while_connected(*args: Any, **kwargs: Any) -> Any:
        if channel.connection is None or channel.connection.client is None:
            raise RedisConnectionError("this connection is lost")
        return get_pool(*args, **kwargs)

    channel._get_pool = get_pool_while_connected


def _headers_of(raw: Any) -> dict[str, Any]:
    headers = raw["headers"] if isinstance(raw, dict) else raw.properties.get("application_headers")
    return headers if isinstance(headers, dict) else {}


def _guard_amqp(channel: Any, _errors: tuple[type[Exception], ...]) -> None:
    amqp_frames.tolerate_properties()
    amqp_frames.tolerate_deliveries(channel)


def _guard_redis(channel: Any, errors: tuple[type[Exception], ...]) -> None:
    transport = channel.connection
    for each in transport.channels:
        _guard_redis_channel(each, errors)
    # Celery opens new channels for remote control after an error.
    transport.Channel = partial(_make_guarded_channel, transport.Channel, errors)
    deliver = type(transport)._deliver

    def repair_and_deliver(raw: Any, queue: str) -> None:
        deliver(transport, repair_message(raw, queue), queue)

    transport._deliver = repair_and_deliver


def _guard_memory(_channel: Any, _errors: tuple[type[Exception], ...]) -> None:
    """Do nothing: only this process can put messages into its memory."""


_GUARDS: dict[BrokerType, Callable[[Any, tuple[type[Exception], ...]], None]] = {
    BrokerType.AMQP: _guard_amqp,
    BrokerType.REDIS: _guard_redis,
    BrokerType.MEMORY: _guard_memory,
}


def _make_guarded_channel(
    make: Callable[[Any], Any], errors: tuple[type[Exception], ...], connection: Any
) -> Any:
    channel = make(connection)
    _guard_redis_channel(channel, errors)
    return channel


def _guard_redis_channel(channel: Any, errors: tuple[type[Exception], ...]) -> None:
    """Make a Redis channel survive a lost connection, and skip bytes that are not a message."""
    tolerate_lost_connection(channel)
    channel.handlers = {
        name: _skip_unreadable(read, channel, errors) for name, read in channel.handlers.items()
    }


def _skip_unreadable(
    read: Callable[..., Any], channel: Any, errors: tuple[type[Exception], ...]
) -> Callable[..., Any]:
    @wraps(read)
    def read_or_skip(*args: Any, **kwargs: Any) -> Any:
        handler, pop = getattr(channel, POPPED_HANDLER_ATTRIBUTE, None), pop_of(channel)
        try:
            return read(*args, **kwargs)
        except Empty:
            raise
        except Exception as error:
            # redis-py raises DataError for an invalid delivery tag; its other errors concern the connection.
            if isinstance(error, errors) and not isinstance(error, DataError):
                raise
            if handler is not None and handler.move_aside(error):
                return True
            # Without the text of the error, which may quote the bytes.
            if handler is not None and pop is not None and pop.recorded_tag:
                _log.error(
                    "cannot move an unreadable message aside (%s); it stays unacknowledged",
                    type(error).__name__,
                )
                return True
            if pop is not None:
                pop.discard()
            _log.error("dropped an unreadable message (%s)", type(error).__name__)
            return True
        finally:
            if handler is not None:
                handler.forget()

    return read_or_skip


class _BodyRedactingFilter(logging.Filter):
    """Removes the body from what Celery and kombu log about a message that they cannot use."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, and let it pass."""
        if record.msg == celery_consumer.UNKNOWN_TASK_ERROR:
            record.msg, record.args = (
                "dropped a message for the unknown task %s",
                (_task_name_and_id(record.args),),
            )
        elif record.msg in _REPLACEMENT_TEXTS:
            record.msg, record.args = _REPLACEMENT_TEXTS[record.msg], ()
        elif record.msg in _LOST_CONNECTION_FORMATS:
            record.msg, record.args = _LOST_CONNECTION_TEXT, ()
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        elif record.exc_info and isinstance(record.exc_info[1], ResponseError):
            record.msg, record.args = _REFUSED_TEXT, (type(record.exc_info[1]).__name__,)
        else:
            return True
        record.exc_info = record.exc_text = None
        return True


def _task_name_and_id(args: Any) -> str:
    """Return task name and id from the arguments of Celery's log record: error, body, headers, and more."""
    headers = args[2]
    return f"{quoted_name(headers.get('task'))} (id {quoted_name(headers.get('id'))})"


_BODY_FILTER = _BodyRedactingFilter()
