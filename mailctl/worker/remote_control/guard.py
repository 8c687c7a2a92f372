"""The guard of a worker's remote control: it validates each control message before Celery acts on it.

A worker of mailctl's own app executes the commands in `message.ALLOWED_COMMANDS`, and `shutdown` only if the
message names the worker. A worker of a service's app executes Celery's commands with valid arguments, and the
commands of the service. A refused message costs one line in the log, and the sender gets the reason if it
asked for a reply.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.worker.consumer.control import Control
from typing_extensions import override

from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.celery_app import is_built_in_app
from mailctl.worker.consumer_guards import keep_compressed
from mailctl.worker.message_validation import InvalidMessage, amqp_frames, check_charset
from mailctl.worker.remote_control import message as control_message

if TYPE_CHECKING:
    from mailctl.worker.remote_control.message import ControlMessage

_log = logging.getLogger("mailctl.worker")
#: Bytes of a control message; Celery's own have a few hundred.
_MAX_BODY = 2**20


class ControlGuard(bootsteps.Step):  # type: ignore[misc]
    """Installs the guard before Celery's remote control, which opens a channel for each connection."""

    requires: ClassVar = {Control}

    @override
    def create(self, parent: Any) -> None:
        """Guard the mailbox of the worker, which exists longer than its connections."""
        [control] = [step for step in parent.blueprint.steps.values() if isinstance(step, Control)]
        _Guard(parent, control.box).install()


class _Guard:
    """Receives the control messages of a worker."""

    def __init__(self, consumer: Any, box: Any) -> None:
        self._consumer = consumer
        self._box = box
        self._node = box.node

    def install(self) -> None:
        """Receive the messages in place of Celery."""
        self._node.listen = partial(self._listen, self._node.listen)
        self._consumer.add_task_queue = partial(self._add_queue, self._consumer.add_task_queue)

    def _listen(self, listen: Any, channel: Any = None, callback: Any = None) -> Any:
        consumer = listen(channel=channel, callback=callback)
        consumer.on_message = self._receive
        consumer.channel.Message = keep_compressed(consumer.channel.Message)
        if broker_type_of(self._consumer.connection) is BrokerType.AMQP:
            amqp_frames.tolerate_deliveries(consumer.channel)
        return consumer

    def _add_queue(self, add: Any, queue: str, *args: Any, **options: Any) -> None:
        """Consume from a queue, or forget it if the broker refuses, for example because its options differ.

        Otherwise Celery would declare it again after each reconnection, and fail each time.
        """
        queues = self._consumer.app.amqp.queues
        is_known, is_consumed = queue in queues, queue in queues.consume_from
        try:
            add(queue, *args, **options)
        except Exception as error:
            _log.error("cannot consume from an additional queue (%s)", type(error).__name__)
            if not is_consumed:
                queues.deselect(queue)
            if not is_known:
                queues.pop(queue, None)
            # The broker has closed the channel, so the worker has to connect again.
            raise ConnectionResetError("cannot declare a queue") from None

    def _receive(self, message: Any) -> None:
        """Pass a message to Celery if its command is allowed."""
        try:
            control = control_message.read(_payload(message), self._receiver())
        except InvalidMessage as error:
            _log.warning("refused a control message: %s", error)
            return
        if control is None:
            return
        try:
            control_message.check_command(control, self._receiver())
        except InvalidMessage as error:
            self._refuse(control, error)
            return
        self._box.on_message(control.body, message)

    def _refuse(self, control: ControlMessage, reason: InvalidMessage) -> None:
        # Without an unknown name, which another program chose.
        name = control.method if control.method in self._node.handlers else "(unknown)"
        _log.warning("refused the control command %s: %s", name, reason)
        if control.reply_to is None:
            return
        try:
            self._node.reply(
                {self._node.hostname: {"error": f"refused: {reason}"}},
                ticket=control.ticket,
                **control.reply_to,
            )
        except Exception as error:
            _log.warning("cannot reply to a refused control command (%s)", type(error).__name__)
            self._box.reset()  # like Celery after a failed reply: the channel may be closed

    def _receiver(self) -> control_message.Receiver:
        return control_message.Receiver(
            hostname=self._node.hostname,
            reply_exchange=self._node.mailbox.reply_exchange.name,
            commands=self._node.handlers,
            is_built_in=is_built_in_app(self._consumer.app),
            pool_size=self._consumer.pool.num_processes or 1,
        )


def _payload(message: Any) -> Any:
    """Return the decoded body of a message.

    Raises:
        InvalidMessage: the body cannot be decoded, or it is compressed.
    """
    control_message.check_clock(message.headers.get("clock"))
    if message.headers.get("compression"):
        raise InvalidMessage("it is compressed.")
    body = message.body
    if not isinstance(body, str | bytes | memoryview) or len(body) > _MAX_BODY:
        raise InvalidMessage(f"its body has more than {_MAX_BODY} bytes.")
    check_charset(message.content_encoding)
    try:
        return message.decode()
    except Exception as error:  # without its text, which may quote the body
        raise InvalidMessage(f"it cannot be decoded ({type(error).__name__}).") from None
