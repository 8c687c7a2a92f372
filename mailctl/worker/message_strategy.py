"""Receiving messages: each passes the envelope's check before Celery acts on it.

A message of ours that cannot be used becomes one that its task refuses, so that it ends in the delivery log
like any other. Whatever a message says, the broker keeps it until its task has recorded it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kombu.message import Message

from mailctl import unicode_safety
from mailctl.worker import message_validation
from mailctl.worker.message_validation import Accepted, IncomingMessage, Refused
from mailctl.worker.message_validation.headers import InvalidMessage, is_printable
from mailctl.worker.private_request import PrivateTask

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
#: Characters of a name that somebody else chose which are shown.
_MAX_NAME_LENGTH = 100
_NO_TASK_MESSAGE = "dropped a message that is for no task"


class MessageReceiver:
    """Takes messages from a consumer of Celery's and hands them to it, once they are safe for it.

    Args:
        consumer: of a worker, connected.
        handle: Celery's own handler of messages.
        is_own: whether the app is mailctl's own: then no task of Celery's runs, which a service may need.
        errors: what says that the connection is gone; Celery deals with that.
    """

    def __init__(
        self,
        consumer: Any,
        handle: Callable[[Any], Any],
        *,
        is_own: bool,
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._consumer = consumer
        self._handle = handle
        self._tasks = consumer.app.tasks
        self._ours = mailctl_task_names(consumer.app)
        self._is_own = is_own
        self._limit = message_validation.MAX_BODY if is_own else message_validation.MAX_SERVICE_BODY
        self._errors = errors

    def receive(self, message: Any) -> None:
        """Let Celery have a message; nothing in it ends the worker."""
        try:
            self._receive(message)
        except self._errors:
            raise
        except Exception as error:
            self._handle_unreadable(message, error)

    def receive_undecodable(self, message: Any, error: Exception) -> None:
        """Do the same for a message that kombu could not take apart."""
        _log.debug("a message is damaged (%s)", type(error).__name__)
        self.receive(message)

    def _receive(self, message: Any) -> None:
        wire = _incoming_message(message)
        name = message_validation.task_name(wire, limit=self._limit)
        if name in self._ours:
            verdict = message_validation.validate_message(wire, name, now=datetime.now(UTC))
            self._handle(_message_for_celery(message, name, verdict, queue=self._queue_of(message)))
        elif self._is_for_service_task(wire, name):
            self._receive_service_message(message, wire)
        else:
            self._handle_unknown(message, name)

    def _is_for_service_task(self, wire: IncomingMessage, name: str | None) -> bool:
        """Whether a message is for a task of the service's own, or of Celery's, which the service may use."""
        if self._is_own:
            return False
        # Only Celery knows what is in it.
        is_packed = not wire.headers and wire.content_type != message_validation.JSON_CONTENT_TYPE
        return name in self._tasks or is_packed

    def _receive_service_message(self, message: Any, wire: IncomingMessage) -> None:
        """Let Celery have a message for a task of the service's own, unless it would end the worker."""
        try:
            message.body = message_validation.service_task_body(wire)
        except InvalidMessage as fault:
            named = unicode_safety.escape_controls_as_line(
                f"{message.headers.get('task')}"[:_MAX_NAME_LENGTH]
            )
            _log.error("rejected a message for task %s: %s", named, fault)
            self._reject(message)
            return
        if not is_printable(message.headers.get("shadow") or ""):
            del message.headers["shadow"]
        self._handle(message)

    def _handle_unknown(self, message: Any, name: str | None) -> None:
        """Deal with a message that is for no task here, nor for one of Celery's own that may run here."""
        if name is None or "id" not in message.headers:
            self._consumer.on_unknown_message(None, message)
        else:
            self._consumer.on_unknown_task(None, message, KeyError(name))

    def _handle_unreadable(self, message: Any, error: Exception) -> None:
        """Deal with a message on which this module itself failed like with one that is for no task."""
        if message.acknowledged:
            return
        _log.error("a message cannot be read (%s)", type(error).__name__)
        try:
            self._consumer.on_unknown_message(None, message)
        except self._errors:
            raise
        except Exception:  # Celery's own way with it prints the message
            _log.error("%s (%s)", _NO_TASK_MESSAGE, type(error).__name__)
            self._reject(message)

    def _queue_of(self, message: Any) -> str:
        """Return the queue that a message was consumed from; its routing key may be anything."""
        tag = message.delivery_info.get("consumer_tag")
        tags = self._consumer.task_consumer._active_tags
        named = next((queue for queue, of_queue in tags.items() if of_queue == tag), None)
        routing_key = message.delivery_info.get("routing_key")
        known = routing_key if routing_key in tags else self._consumer.app.conf.task_default_queue
        return str(named or known)

    def _reject(self, message: Any) -> None:
        if not message.acknowledged:
            message.reject_log_error(_log, self._errors)


def mailctl_task_names(app: Any) -> frozenset[str]:
    """Return the tasks of an app that are ours; one that the service defines under the same name is not."""
    return frozenset(name for name, task in app.tasks.items() if isinstance(task, PrivateTask))


def _incoming_message(message: Any) -> IncomingMessage:
    return IncomingMessage(
        headers=message.headers,
        properties=message.properties,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
    )


def _message_for_celery(message: Any, task: str, verdict: Accepted | Refused, *, queue: str) -> Message:
    """Return what Celery gets instead of a message: acknowledged or returned, it stands for the original."""
    if isinstance(verdict, Accepted):
        headers, body, reply_to = verdict.headers, verdict.body, verdict.reply_to
    else:
        headers = {"lang": "py", "task": task, "id": verdict.id, "root_id": verdict.id}
        headers[message_validation.REFUSAL_HEADER] = verdict.reason
        body, reply_to = json.dumps([[], {}, {}]), None
    return Message(  # type: ignore[no-untyped-call]
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_tag=message.delivery_tag,
        delivery_info={**message.delivery_info, "exchange": "", "routing_key": queue},
        properties={"correlation_id": verdict.id, "reply_to": reply_to},
        headers=headers,
        channel=message.channel,
    )
