"""The guard around a worker's remote control: each message is validated before Celery acts on it.

A worker of mailctl's own app obeys what `control_message.OBEYED` lists, and `shutdown` only if it names the
worker. One of a service's app obeys Celery's commands with usable arguments, and those of the service. What
is refused is one line in the log; a sender who has asked for a reply gets the reason.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.worker.consumer.control import Control
from typing_extensions import override

from mailctl.celery_app import is_built_in_app
from mailctl.worker.consumer_guards import unexpanded
from mailctl.worker.message_validation import IncomingMessage, amqp_frames, check_charset
from mailctl.worker.message_validation.headers import InvalidMessage
from mailctl.worker.remote_control import message as control_message

if TYPE_CHECKING:
    from mailctl.worker.remote_control.message import ControlMessage

_log = logging.getLogger("mailctl.worker")
#: Octets of a control message; Celery's own have a few hundred.
_MAX_BODY = 2**20


class ControlGuard(bootsteps.Step):  # type: ignore[misc]
    """Puts the guard before Celery's remote control, which opens a channel at each connection."""

    requires: ClassVar = {Control}

    @override
    def create(self, parent: Any) -> None:
        """Guard the mailbox of the worker, which outlives its connections."""
        [control] = [step for step in parent.blueprint.steps.values() if isinstance(step, Control)]
        _Guard(parent, control.box).install()


class _Guard:
    """Receives the control messages of one worker."""

    def __init__(self, consumer: Any, box: Any) -> None:
        self._consumer = consumer
        self._box = box
        self._node = box.node

    def install(self) -> None:
        """Receive what Celery would receive."""
        self._node.listen = partial(self._listen, self._node.listen)
        self._consumer.add_task_queue = partial(self._add_queue, self._consumer.add_task_queue)

    def _listen(self, listen: Any, channel: Any = None, callback: Any = None) -> Any:
        consumer = listen(channel=channel, callback=callback)
        consumer.on_message = self._receive
        consumer.channel.Message = unexpanded(consumer.channel.Message)
        if self._consumer.connection.transport.driver_type == "amqp":
            amqp_frames.tolerate_deliveries(consumer.channel)
        return consumer

    def _add_queue(self, add: Any, queue: str, *args: Any, **options: Any) -> None:
        """Consume from a queue, or forget it if the broker refuses it, such as one that has other options.

        Celery would ask for it again each time that it has connected, and never get further.
        """
        queues = self._consumer.app.amqp.queues
        is_known, is_consumed = queue in queues, queue in queues.consume_from
        try:
            add(queue, *args, **options)
        except Exception as error:
            _log.error("cannot consume from another queue (%s)", type(error).__name__)
            if not is_consumed:
                queues.deselect(queue)
            if not is_known:
                queues.pop(queue, None)
            # The channel is closed.
            raise ConnectionResetError("a queue was refused") from None

    def _receive(self, message: Any) -> None:
        """Hand a message to Celery if the worker obeys it."""
        try:
            control = control_message.read(_payload(message), self._receiver())
        except InvalidMessage as fault:
            _log.warning("refused a control message: %s", fault)
            return
        if control is None:
            return
        try:
            control_message.check_command(control, self._receiver())
        except InvalidMessage as fault:
            self._refuse(control, fault)
            return
        self._box.on_message(control.body, message)

    def _refuse(self, control: ControlMessage, fault: InvalidMessage) -> None:
        # An unknown name is only what somebody else wrote.
        name = control.method if control.method in self._node.handlers else "(unknown)"
        _log.warning("refused the control command %s: %s", name, fault)
        if control.reply_to is None:
            return
        try:
            self._node.reply(
                {self._node.hostname: {"error": f"refused: {fault}"}},
                ticket=control.ticket,
                **control.reply_to,
            )
        except Exception as error:
            _log.warning("nobody is told that a control command is refused (%s)", type(error).__name__)
            self._box.reset()  # as Celery does when a reply fails, after which the channel may be closed

    def _receiver(self) -> control_message.Receiver:
        return control_message.Receiver(
            hostname=self._node.hostname,
            reply_exchange=self._node.mailbox.reply_exchange.name,
            commands=self._node.handlers,
            is_own=is_built_in_app(self._consumer.app),
            pool_size=self._consumer.pool.num_processes or 1,
        )


def _payload(message: Any) -> Any:
    """Return what is in a message.

    Raises:
        Unusable: it cannot be decoded, or may expand.
    """
    control_message.check_clock(message.headers.get("clock"))
    if message.headers.get("compression"):
        raise InvalidMessage("it is compressed.")
    body = message.body
    if not isinstance(body, str | bytes | memoryview) or len(body) > _MAX_BODY:
        raise InvalidMessage(f"its body has more than {_MAX_BODY} octets.")
    check_charset(IncomingMessage(headers={}, content_encoding=message.content_encoding))
    try:
        return message.decode()
    except Exception as error:  # its words may hold what is in the body
        raise InvalidMessage(f"it cannot be decoded ({type(error).__name__}).") from None
