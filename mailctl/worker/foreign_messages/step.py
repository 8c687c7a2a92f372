"""The bootstep that takes messages of other apps from Celery, which would delete them."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any, ClassVar

from celery import bootsteps
from kombu.transport import virtual
from typing_extensions import override

from mailctl import runtime
from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.worker.foreign_messages.copier import MessageCopier
from mailctl.worker.foreign_messages.held_messages import DelayedMessage
from mailctl.worker.foreign_messages.message import (
    RAW_ATTRIBUTE,
    ForeignMessage,
    read_foreign_message,
    remember_raw,
)
from mailctl.worker.foreign_messages.mover import move_all
from mailctl.worker.foreign_messages.prefetch import PrefetchSlots, do_nothing
from mailctl.worker.foreign_messages.requeuer import MessageRequeuer
from mailctl.worker.foreign_messages.schedule import RequeueSchedule
from mailctl.worker.foreign_messages.unreadable_bytes import preserve_unreadable_bytes

_log = logging.getLogger("mailctl.worker")
#: Seconds to wait for the reply of Redis to a pending BRPOP.
_BRPOP_REPLY_SECONDS = 2.0
#: Seconds before a message that cannot be held is requeued. Without a delay the broker would deliver it in a
#: loop.
_REQUEUE_DELAY_SECONDS = 10.0


class ForeignMessageStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Passes messages for which the app has no task to a requeuer, each time that the worker has connected.

    Args:
        drop_foreign: leave such messages to Celery, which deletes them.
        foreign_schedule: the delays and limits; None for the defaults.
    """

    #: After the guards, which change how messages are received.
    requires: ClassVar = {"mailctl.worker.consumer_guards:MessageGuardStep"}

    def __init__(
        self,
        parent: Any,
        *,
        drop_foreign: bool = False,
        foreign_schedule: RequeueSchedule | None = None,
        **options: Any,
    ) -> None:
        super().__init__(parent, **options)
        self._is_disabled = drop_foreign
        self._schedule = foreign_schedule or RequeueSchedule()
        self._requeuer: MessageRequeuer | None = None
        #: The delivery that a virtual channel is processing.
        self._delivered_queue = ""
        self._delivered_raw: Any = None

    def start(self, parent: Any) -> None:
        """Start the requeuer, and pass it the messages that are for no task of the app."""
        if self._is_disabled:
            return
        self._preserve_raw_messages(parent)
        slots = PrefetchSlots(parent)
        self._requeuer = self._make_requeuer(parent, slots)
        self._requeuer.start()
        hold = partial(self._hold_or_requeue, parent, self._requeuer, slots)
        # The guards call these for every message that is for no task of this app, however damaged it is.
        parent.on_unknown_task = lambda _, message, error: hold(message, _unknown_task_name(error))
        parent.on_unknown_message = lambda _, message: hold(message, None)

    @override
    def stop(self, parent: Any) -> None:
        """Return everything that is held to the head of its queue."""
        requeuer, self._requeuer = self._requeuer, None
        if requeuer is None:
            return
        held = [foreign for foreign in requeuer.stop() if foreign.is_virtual]
        if not held:
            return  # an AMQP broker requeues what is unacknowledged when the channel closes
        try:
            _stop_consuming(parent.task_consumer)
            for queue in {foreign.queue for foreign in held}:
                of_queue = [foreign for foreign in reversed(held) if foreign.queue == queue]
                move_all(of_queue, queue, to_head=True)
        except (*parent.connection_errors, *parent.channel_errors) as error:
            # Redis restores unacknowledged messages after the visibility timeout.
            _log.debug("left the held messages to the broker: %s", type(error).__name__)

    terminate = stop

    def _preserve_raw_messages(self, parent: Any) -> None:
        channel = parent.task_consumer.channel
        if not isinstance(channel, virtual.Channel):
            remember_raw(channel)
            return
        self._track_deliveries(channel.connection)
        if broker_type_of(parent.connection) is BrokerType.REDIS:
            preserve_unreadable_bytes(channel)

    def _make_requeuer(self, parent: Any, slots: PrefetchSlots) -> MessageRequeuer:
        channel = parent.task_consumer.channel
        copier = None if isinstance(channel, virtual.Channel) else MessageCopier(parent.app)
        return MessageRequeuer(
            runtime.current().foreign_messages,
            copier=copier,
            depth=copier.depth if copier else channel._size,
            call_soon=parent.call_soon,
            connection_errors=parent.connection_errors,
            acknowledge=partial(_acknowledge, errors=parent.connection_errors),
            schedule=self._schedule,
            on_tick=slots.renew_consumer,
        )

    def _hold_or_requeue(
        self, parent: Any, requeuer: MessageRequeuer, slots: PrefetchSlots, message: Any, task: object
    ) -> None:
        try:
            self._hold(parent, requeuer, slots, message, task)
        except parent.connection_errors:
            raise
        except Exception as error:  # whatever went wrong, the message must reach the other app
            _log.error(
                "cannot hold a message of another app; it is requeued in %g s: %s",
                _REQUEUE_DELAY_SECONDS,
                type(error).__name__,
            )
            requeue = partial(_requeue, message, errors=(*parent.connection_errors, *parent.channel_errors))
            parent.timer.call_after(_REQUEUE_DELAY_SECONDS, requeue)

    def _hold(
        self, parent: Any, requeuer: MessageRequeuer, slots: PrefetchSlots, message: Any, task: object
    ) -> None:
        is_virtual = isinstance(message.channel, virtual.Channel)
        raw = self._delivered_raw if is_virtual else getattr(message, RAW_ATTRIBUTE)
        foreign = read_foreign_message(message, raw, task=task, queue=self._queue_of(parent, message))
        has_room = not requeuer.is_full or requeuer.has_overflow_room
        release_slot = slots.reserve() if has_room else do_nothing
        requeuer.add(DelayedMessage(foreign=foreign, release_slot=release_slot, is_overflow=requeuer.is_full))

    def _track_deliveries(self, transport: Any) -> None:
        """Remember the queue and the original form of each message: the guards may repair it."""
        deliver = transport._deliver

        def track_and_deliver(raw: Any, queue: str) -> Any:
            self._delivered_queue, self._delivered_raw = queue, raw
            try:
                return deliver(raw, queue)
            finally:
                self._delivered_raw = None  # which may be large

        transport._deliver = track_and_deliver

    def _queue_of(self, parent: Any, message: Any) -> str:
        if isinstance(message.channel, virtual.Channel):
            return self._delivered_queue
        tag = message.delivery_info.get("consumer_tag")
        tags = parent.task_consumer._active_tags
        return next((str(name) for name, each in tags.items() if each == tag), "") or str(
            message.delivery_info.get("routing_key")
        )


def _stop_consuming(consumer: Any) -> None:
    """Cancel a consumer, and read the pending reply of Redis.

    Otherwise Redis would deliver the first message that goes back to this worker.
    """
    consumer.cancel()
    pending = getattr(consumer.channel, "_in_poll", None)
    # The reply comes within a second, which is longer than the time-out of the connection.
    if pending and pending.can_read(timeout=_BRPOP_REPLY_SECONDS):
        with suppress(Empty):
            consumer.channel.handlers["BRPOP"]()


def _acknowledge(foreign: ForeignMessage, *, errors: tuple[type[Exception], ...]) -> None:
    foreign.message.ack_log_error(_log, errors)


def _requeue(message: Any, *, errors: tuple[type[Exception], ...]) -> None:
    try:
        message.requeue()
    except errors as error:
        # The connection is lost, and the broker has requeued the message.
        _log.debug("left a message to the broker: %s", type(error).__name__)


def _unknown_task_name(error: Exception) -> object:
    """Return the name of a task that Celery did not find."""
    return error.args[0] if error.args else None
