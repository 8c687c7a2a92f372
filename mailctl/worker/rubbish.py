"""What is no message, or for nobody: it is dropped with one line in the log, and without what was in it.

Celery would print whole bodies, and bytes in a queue of Redis that it cannot take apart would end the worker.
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

from mailctl.celery_app import is_redis
from mailctl.worker.lost_connection import outlive_connection

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
_TALKATIVE = (celery_consumer.logger.name, "kombu.transport.redis")
#: Characters of a name that somebody else chose which are shown.
_MAX_NAME = 100
_NO_TASK = "dropped a message that is for no task"
#: By Celery's own text, which ends with the body: what is written instead.
_WITHOUT_BODY = {
    celery_consumer.UNKNOWN_FORMAT: _NO_TASK,
    celery_consumer.INVALID_TASK_ERROR: "dropped a message with options that Celery cannot use",
    celery_consumer.MESSAGE_DECODE_ERROR: "dropped a message that cannot be decoded",
    "Cannot process event on channel %r: %s": "dropped what is no message to all workers",
}


class RubbishStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Guards the consumer of a worker, each time it has connected and before it takes the first message."""

    requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

    def start(self, parent: Any) -> None:
        """Put guards before what receives messages."""
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_CUT)  # one that is there is not added again
        errors = (*parent.connection_errors, *parent.channel_errors)
        parent.create_task_handler = _guarded_maker(type(parent).create_task_handler, parent, errors)
        transport = parent.task_consumer.channel.connection
        if is_redis(str(parent.app.conf.broker_url)):
            for channel in transport.channels:
                _guard_channel(channel, errors)
            # Those for remote control are opened anew after an error.
            transport.Channel = partial(_new_channel, type(transport).Channel, errors)


def _guarded_maker(
    make: Callable[[Any], Callable[[Any], Any]], consumer: Any, errors: tuple[type[Exception], ...]
) -> Callable[[], Callable[[Any], None]]:
    """Return what makes a handler of messages that nothing in a message can break."""

    def make_guarded() -> Callable[[Any], None]:
        handle = make(consumer)

        def receive(message: Any) -> None:
            try:
                handle(message)
            except errors:
                raise
            except Exception as error:
                _log.error("%s (%s)", _NO_TASK, type(error).__name__)
                if not message.acknowledged:
                    message.reject_log_error(_log, errors)

        return receive

    return make_guarded


def _new_channel(make: Callable[[Any], Any], errors: tuple[type[Exception], ...], connection: Any) -> Any:
    channel = make(connection)
    _guard_channel(channel, errors)
    return channel


def _guard_channel(channel: Any, errors: tuple[type[Exception], ...]) -> None:
    """Let a channel of Redis outlive its connection, and read over what is no message."""
    outlive_connection(channel)
    channel.handlers = {name: _reading_over(read, errors) for name, read in channel.handlers.items()}


def _reading_over(read: Callable[..., Any], errors: tuple[type[Exception], ...]) -> Callable[..., Any]:
    @wraps(read)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return read(*args, **kwargs)
        except Empty:
            raise
        except Exception as error:
            # Redis takes no tag that is none; anything else that it says is about the connection.
            if isinstance(error, errors) and not isinstance(error, DataError):
                raise
            # Its text may hold the bytes.
            _log.error("dropped what is no message from a queue (%s)", type(error).__name__)
            return True

    return guarded


class _WithoutBodies(logging.Filter):
    """Takes what a message says out of the lines that Celery writes about those that it cannot use."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, and let it pass."""
        if record.msg == celery_consumer.UNKNOWN_TASK_ERROR:
            record.msg, record.args = "dropped a message: there is no task %s", (_name(record.args),)
        elif record.msg in _WITHOUT_BODY:
            record.msg, record.args = _WITHOUT_BODY[record.msg], ()
        else:
            return True
        record.exc_info = record.exc_text = None
        return True


def _name(args: Any) -> str:
    """Return the name of the task and the id, of what Celery would write: error, body, headers, and more."""
    headers = args[2]
    return f"{str(headers.get('task'))[:_MAX_NAME]!r} (id {str(headers.get('id'))[:_MAX_NAME]!r})"


_CUT = _WithoutBodies()
