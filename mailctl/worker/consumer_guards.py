"""Guards around the consumer of a worker: what is no message, or for nobody, ends in one line of the log.

Celery would print whole bodies, and bytes that kombu or py-amqp cannot take apart would end the worker.
"""

from __future__ import annotations

import logging
from functools import partial, wraps
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.worker.consumer import consumer as celery_consumer
from redis.exceptions import DataError
from typing_extensions import override

from mailctl.celery_app import is_built_in_app, is_redis
from mailctl.worker.lost_connection import tolerate_lost_connection
from mailctl.worker.message_strategy import MessageReceiver
from mailctl.worker.message_validation import MAX_SERVICE_BODY, amqp_frames, decompression
from mailctl.worker.message_validation.redis_messages import Repaired, repair_message

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
_FILTERED_LOGGERS = (celery_consumer.logger.name, "celery.worker.pidbox", "kombu.transport.redis")
#: Characters of a name that somebody else chose which are shown.
_MAX_NAME_LENGTH = 100
#: Where a channel of Redis has what keeps bytes that are no message.
UNREADABLE_HANDLER_ATTRIBUTE = "mailctl_keep"
#: By Celery's own text, which ends with the body: what is written instead.
_REPLACEMENT_TEXTS = {
    celery_consumer.UNKNOWN_FORMAT: "dropped a message that is for no task",
    celery_consumer.INVALID_TASK_ERROR: "dropped a message with options that Celery cannot use",
    celery_consumer.MESSAGE_DECODE_ERROR: "dropped a message that cannot be decoded",
    "Cannot process event on channel %r: %s": "dropped what is no message to all workers",
    "Control command error: %r": "dropped a message to all workers that is no command",
    "No such control command: %s": "dropped a message to all workers with an unknown command",
}


class MessageGuardStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Guards the consumer of a worker, each time it has connected and before it takes the first message."""

    requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

    def start(self, parent: Any) -> None:
        """Put guards before what receives messages."""
        for name in _FILTERED_LOGGERS:
            logging.getLogger(name).addFilter(_BODY_FILTER)  # one that is there is not added again
        errors = (*parent.connection_errors, *parent.channel_errors)
        decompression.limit_kombu_decompression(MAX_SERVICE_BODY)
        channel = parent.task_consumer.channel
        channel.Message = unexpanded(channel.Message)
        reception = MessageReceiver(
            parent,
            type(parent).create_task_handler(parent),
            is_own=is_built_in_app(parent.app),
            errors=errors,
        )
        parent.create_task_handler = lambda: reception.receive
        parent.task_consumer.on_decode_error = reception.receive_undecodable
        if is_redis(str(parent.app.conf.broker_url)):
            _guard_redis(channel.connection, errors)
        elif parent.connection.transport.driver_type == "amqp":
            amqp_frames.tolerate_properties()
            amqp_frames.tolerate_deliveries(channel)


def unexpanded(base: type[Any]) -> type[Any]:
    """Return a class of messages whose bodies stay compressed until it is known how large they may get."""

    class Unexpanded(base):  # type: ignore[misc]
        """A message with the body that is on the broker."""

        def __init__(self, raw: Any, channel: Any = None, **options: Any) -> None:
            headers = _headers_of(raw)
            compression = headers.pop("compression", None)
            try:
                super().__init__(raw, channel=channel, **options)
            except ValueError:  # its body is not in Base64
                super().__init__({**raw, "body": ""}, channel=channel, **options)
            finally:
                if isinstance(raw, Repaired):
                    self._raw = raw.stored
                if compression is not None:
                    headers["compression"] = compression
                    self.headers = headers

    return Unexpanded


def _headers_of(raw: Any) -> dict[str, Any]:
    headers = raw["headers"] if isinstance(raw, dict) else raw.properties.get("application_headers")
    return headers if isinstance(headers, dict) else {}


def _guard_redis(transport: Any, errors: tuple[type[Exception], ...]) -> None:
    for channel in transport.channels:
        _guard_channel(channel, errors)
    # Those for remote control are opened anew after an error.
    transport.Channel = partial(_make_guarded_channel, type(transport).Channel, errors)
    deliver = type(transport)._deliver

    def deliver_repaired(raw: Any, queue: str) -> None:
        deliver(transport, repair_message(raw, queue), queue)

    transport._deliver = deliver_repaired


def _make_guarded_channel(
    make: Callable[[Any], Any], errors: tuple[type[Exception], ...], connection: Any
) -> Any:
    channel = make(connection)
    _guard_channel(channel, errors)
    return channel


def _guard_channel(channel: Any, errors: tuple[type[Exception], ...]) -> None:
    """Let a channel of Redis outlive its connection, and read over what is no message."""
    tolerate_lost_connection(channel)
    channel.handlers = {name: _skip_invalid_messages(read, errors) for name, read in channel.handlers.items()}


def _skip_invalid_messages(
    read: Callable[..., Any], errors: tuple[type[Exception], ...]
) -> Callable[..., Any]:
    @wraps(read)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        keep = getattr(getattr(read, "__self__", None), UNREADABLE_HANDLER_ATTRIBUTE, None)
        try:
            return read(*args, **kwargs)
        except Empty:
            raise
        except Exception as error:
            # Redis takes no tag that is none; anything else that it says is about the connection.
            if isinstance(error, errors) and not isinstance(error, DataError):
                raise
            if keep is not None and keep.move_aside(error):
                return True
            # Its text may hold the bytes.
            _log.error("dropped what is no message from a queue (%s)", type(error).__name__)
            return True
        finally:
            if keep is not None:
                keep.forget()

    return guarded


class _BodyRedactingFilter(logging.Filter):
    """Takes what a message says out of the lines that Celery writes about those that it cannot use."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, and let it pass."""
        if record.msg == celery_consumer.UNKNOWN_TASK_ERROR:
            record.msg, record.args = (
                "dropped a message: there is no task %s",
                (_task_name_and_id(record.args),),
            )
        elif record.msg in _REPLACEMENT_TEXTS:
            record.msg, record.args = _REPLACEMENT_TEXTS[record.msg], ()
        else:
            return True
        record.exc_info = record.exc_text = None
        return True


def _task_name_and_id(args: Any) -> str:
    """Return the name of the task and the id, of what Celery would write: error, body, headers, and more."""
    headers = args[2]
    return (
        f"{str(headers.get('task'))[:_MAX_NAME_LENGTH]!r} (id {str(headers.get('id'))[:_MAX_NAME_LENGTH]!r})"
    )


_BODY_FILTER = _BodyRedactingFilter()
