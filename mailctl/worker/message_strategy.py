"""The strategy for received messages: each is validated before Celery acts on it.

An invalid message for a task of mailctl is replaced by one that its task refuses, so that the delivery log
records it. The broker keeps every message until its task has recorded it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kombu.message import Message

from mailctl.domain import unicode_safety
from mailctl.worker import message_validation
from mailctl.worker.message_validation import Accepted, IncomingMessage, InvalidMessage, Rejected
from mailctl.worker.message_validation.headers import is_printable
from mailctl.worker.private_request import PrivateTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.worker.consumer_activity import ConsumerActivity

_log = logging.getLogger("mailctl.worker")
#: Characters of a name from another program that are logged.
_MAX_NAME_LENGTH = 100
#: The log line about a message that is for no task and no other app.
NO_TASK_TEXT = "dropped a message that names no task"


class MessageReceiver:
    """Receives messages in place of Celery's handler, and passes valid ones to it.

    Args:
        consumer: the Celery consumer of the worker, connected.
        handle: Celery's handler.
        is_built_in: whether the app is mailctl's own, in which no other task runs.
        errors: the driver's errors for a lost connection, which Celery handles.
        activity: counts the messages.
    """

    def __init__(
        self,
        consumer: Any,
        handle: Callable[[Any], Any],
        *,
        is_built_in: bool,
        errors: tuple[type[Exception], ...],
        activity: ConsumerActivity,
    ) -> None:
        self._activity = activity
        self._consumer = consumer
        self._handle = handle
        self._tasks = consumer.app.tasks
        self._mailctl_tasks = mailctl_task_names(consumer.app)
        self._is_built_in = is_built_in
        self._limit = message_validation.MAX_BODY if is_built_in else message_validation.MAX_SERVICE_BODY
        self._errors = errors

    def receive(self, message: Any) -> None:
        """Process a message; nothing in it can end the worker."""
        self._activity.received += 1
        try:
            self._receive(message)
        except self._errors:
            raise
        except Exception as error:
            self._handle_unreadable(message, error)

    def receive_undecodable(self, message: Any, error: Exception) -> None:
        """Process a message that kombu could not decode."""
        _log.debug("kombu cannot decode a message (%s)", type(error).__name__)
        self.receive(message)

    def _receive(self, message: Any) -> None:
        incoming = _incoming_message(message)
        name = message_validation.task_name(incoming, limit=self._limit)
        if name in self._mailctl_tasks:
            decision = message_validation.validate_message(incoming, name, now=datetime.now(UTC))
            self._handle(_message_for_celery(message, name, decision, queue=self._queue_of(message)))
        elif self._is_for_service_task(incoming, name):
            self._receive_service_message(message, incoming)
        else:
            self._handle_unknown(message, name)

    def _is_for_service_task(self, incoming: IncomingMessage, name: str | None) -> bool:
        """Whether a message is for a task of the service, or one of Celery's tasks that a service may use."""
        if self._is_built_in:
            return False
        # Such as pickle, in which only Celery finds the name of the task.
        is_opaque = not incoming.headers and incoming.content_type != message_validation.JSON_CONTENT_TYPE
        return name in self._tasks or is_opaque

    def _receive_service_message(self, message: Any, incoming: IncomingMessage) -> None:
        """Pass a message for a task of the service to Celery, unless it would harm the worker."""
        try:
            message.body = message_validation.validate_service_message(incoming)
        except InvalidMessage as error:
            task = unicode_safety.escape_controls_as_line(f"{message.headers.get('task')}"[:_MAX_NAME_LENGTH])
            _log.error("rejected a message for task %s: %s", task, error)
            self._reject(message)
            return
        if not is_printable(message.headers.get("shadow") or ""):
            del message.headers["shadow"]
        self._handle(message)

    def _handle_unknown(self, message: Any, name: str | None) -> None:
        """Pass on a message for which there is no task in the app."""
        if name is None or "id" not in message.headers:
            self._consumer.on_unknown_message(None, message)
        else:
            self._consumer.on_unknown_task(None, message, KeyError(name))

    def _handle_unreadable(self, message: Any, error: Exception) -> None:
        """Treat a message on which this module failed like one that names no task."""
        if message.acknowledged:
            return
        _log.error("cannot process a message (%s)", type(error).__name__)
        try:
            self._consumer.on_unknown_message(None, message)
        except self._errors:
            raise
        except Exception:  # without the traceback, which may quote the message
            _log.error("%s (%s)", NO_TASK_TEXT, type(error).__name__)
            self._reject(message)

    def _queue_of(self, message: Any) -> str:
        """Return the queue that a message came from; its routing key need not be the queue's name."""
        tag = message.delivery_info.get("consumer_tag")
        tags = self._consumer.task_consumer._active_tags
        by_tag = next((queue for queue, queue_tag in tags.items() if queue_tag == tag), None)
        routing_key = message.delivery_info.get("routing_key")
        default = routing_key if routing_key in tags else self._consumer.app.conf.task_default_queue
        return str(by_tag or default)

    def _reject(self, message: Any) -> None:
        if not message.acknowledged:
            message.reject_log_error(_log, self._errors)


def mailctl_task_names(app: Any) -> frozenset[str]:
    """Return the names of mailctl's tasks in an app, without those that the service overrides."""
    return frozenset(name for name, task in app.tasks.items() if isinstance(task, PrivateTask))


def _incoming_message(message: Any) -> IncomingMessage:
    return IncomingMessage(
        headers=message.headers,
        properties=message.properties,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
    )


def _message_for_celery(message: Any, task: str, decision: Accepted | Rejected, *, queue: str) -> Message:
    """Return the message that Celery handles in place of the original: both have the same delivery tag."""
    if isinstance(decision, Accepted):
        headers, body, reply_to = decision.headers, decision.body, decision.reply_to
    else:
        headers = {"lang": "py", "task": task, "id": decision.id, "root_id": decision.id}
        headers[message_validation.REFUSAL_HEADER] = decision.reason
        body, reply_to = json.dumps([[], {}, {}]), None
    return Message(  # type: ignore[no-untyped-call]
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_tag=message.delivery_tag,
        delivery_info={**message.delivery_info, "exchange": "", "routing_key": queue},
        properties={"correlation_id": decision.id, "reply_to": reply_to},
        headers=headers,
        channel=message.channel,
    )
