"""Messages of other apps on a queue that mailctl consumes: kept for their own workers, never destroyed."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.worker import state
from kombu.transport import virtual
from typing_extensions import override

from mailctl import runtime
from mailctl.celery_app import is_redis
from mailctl.worker.foreign.message import (
    RAW_ATTRIBUTE,
    ForeignMessage,
    MessageCopier,
    move_all,
    read_foreign_message,
    remember_raw,
)
from mailctl.worker.foreign.requeuer import DelayedMessage, MessageRequeuer, RequeueSchedule
from mailctl.worker.foreign.unreadable_bytes import preserve_unreadable_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
#: Seconds that Redis has for its answer to a worker that has asked for messages.
_ANSWER_SECONDS = 2.0
#: Seconds before a message that could not be kept is given back: at once, the broker would send it for ever.
_REQUEUE_DELAY_SECONDS = 10.0


class ForeignMessageStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes what Celery has no task for out of its hands, each time that the worker has connected.

    Args:
        drop_foreign: leave it to Celery, which deletes it.
        foreign_schedule: how long to wait.
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
        self._drops = drop_foreign
        self._schedule = foreign_schedule or RequeueSchedule()
        self._keeper: MessageRequeuer | None = None
        self._queue_now = ""
        self._raw_now: Any = None

    def start(self, parent: Any) -> None:
        """Put this step before Celery where a message is for nobody."""
        if self._drops:
            return
        consumer = parent.task_consumer
        is_virtual = isinstance(consumer.channel, virtual.Channel)
        if is_virtual:
            self._track_deliveries(consumer.channel.connection)
            if is_redis(str(parent.app.conf.broker_url)):
                preserve_unreadable_bytes(consumer.channel)
        else:
            remember_raw(consumer.channel)
        slots = _PrefetchSlots(parent)
        copier = None if is_virtual else MessageCopier(parent.app)
        self._keeper = MessageRequeuer(
            runtime.current().foreign_messages,
            copier=copier,
            depth=copier.depth if copier else consumer.channel._size,
            run_soon=parent.call_soon,
            connection_errors=parent.connection_errors,
            acknowledge=partial(_acknowledge, errors=parent.connection_errors),
            schedule=self._schedule,
            each_turn=slots.renew_consumer,
        )
        self._keeper.start()
        keep = partial(self._keep_or_requeue, parent, self._keeper, slots)
        # The guards call these for all that is for no task of this app, however it is damaged.
        parent.on_unknown_task = lambda _, message, error: keep(message, _unknown_task_name(error))
        parent.on_unknown_message = lambda _, message: keep(message, None)

    @override
    def stop(self, parent: Any) -> None:
        """Give everything that is kept back to the broker."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        kept = [foreign for foreign in keeper.stop() if foreign.is_virtual]
        if not kept:
            return  # what AMQP has given out it takes back with the channel
        try:
            _stop_consuming(parent.task_consumer)
            for queue in {foreign.queue for foreign in kept}:
                of_queue = [foreign for foreign in reversed(kept) if foreign.queue == queue]
                move_all(of_queue, queue, to_head=True)
        except (*parent.connection_errors, *parent.channel_errors) as error:
            # Redis takes back by itself what nobody acknowledges.
            _log.debug("what is kept is left to the broker: %s", type(error).__name__)

    terminate = stop

    def _keep_or_requeue(
        self, parent: Any, keeper: MessageRequeuer, slots: _PrefetchSlots, message: Any, task: object
    ) -> None:
        try:
            self._add_to_requeuer(parent, keeper, slots, message, task)
        except parent.connection_errors:
            raise
        except Exception as error:  # whatever is wrong here, the message is another app's
            _log.error(
                "a message of another app is given back, as it cannot be kept: %s", type(error).__name__
            )
            give_back = partial(_requeue, message, errors=(*parent.connection_errors, *parent.channel_errors))
            parent.timer.call_after(_REQUEUE_DELAY_SECONDS, give_back)

    def _add_to_requeuer(
        self, parent: Any, keeper: MessageRequeuer, slots: _PrefetchSlots, message: Any, task: object
    ) -> None:
        raw = (
            self._raw_now if isinstance(message.channel, virtual.Channel) else getattr(message, RAW_ATTRIBUTE)
        )
        foreign = read_foreign_message(message, raw, task=task, queue=self._queue_of(parent, message))
        may_take_more = not keeper.is_full or keeper.may_pass_more
        release = slots.reserve() if may_take_more else _do_nothing
        keeper.add(DelayedMessage(foreign=foreign, release_slot=release, counts_as_round=not keeper.is_full))

    def _track_deliveries(self, transport: Any) -> None:
        """Remember from which list each message comes, and what it was there: the guards repair it."""
        deliver = transport._deliver

        def note_and_deliver(message: Any, queue: str) -> Any:
            self._queue_now, self._raw_now = queue, message
            try:
                return deliver(message, queue)
            finally:
                self._raw_now = None  # which may be large

        transport._deliver = note_and_deliver

    def _queue_of(self, parent: Any, message: Any) -> str:
        if isinstance(message.channel, virtual.Channel):
            return self._queue_now
        tag = message.delivery_info.get("consumer_tag")
        tags = parent.task_consumer._active_tags
        return next((str(name) for name, each in tags.items() if each == tag), "") or str(
            message.delivery_info.get("routing_key")
        )


class _PrefetchSlots:
    """Keeps what waits from taking the place of emails: a worker takes a few messages at a time only.

    Celery raises that number for tasks that wait for their time. RabbitMQ does not apply another number to a
    consumer that is there if it counts by consumer, as it does for quorum queues: then a new consumer takes
    the place of the old one, which has its share filled with messages that wait.
    """

    def __init__(self, parent: Any) -> None:
        self._parent = parent
        is_amqp = parent.connection.transport.driver_type == "amqp"
        self._is_by_consumer = is_amqp and not getattr(parent, "qos_global", True)
        self._is_filled = False

    def reserve(self) -> Callable[[], None]:
        """Let the worker take one message more; return what undoes that."""
        if self._is_by_consumer:
            self._is_filled = True
            self._parent.call_soon(self.renew_consumer)
            return _do_nothing
        qos = self._parent.qos
        before = qos.value
        return qos.decrement_eventually if qos.increment_eventually() > before else _do_nothing

    def renew_consumer(self) -> None:
        """Replace the consumer if messages that wait fill its share, and there is room for more work."""
        parent = self._parent
        if not self._is_filled or len(state.reserved_requests) >= parent.initial_prefetch_count:
            return
        self._is_filled = False
        if parent.task_consumer is not None:
            parent.task_consumer.cancel()
            parent.task_consumer.consume()


def _stop_consuming(consumer: Any) -> None:
    """Cancel a consumer, and hear Redis out: it would give this worker the first message that goes back."""
    consumer.cancel()
    asking = getattr(consumer.channel, "_in_poll", None)
    # Its answer comes within a second, which is longer than the connection's time-out.
    if asking and asking.can_read(timeout=_ANSWER_SECONDS):
        with suppress(Empty):
            consumer.channel.handlers["BRPOP"]()


def _acknowledge(foreign: ForeignMessage, *, errors: tuple[type[Exception], ...]) -> None:
    foreign.message.ack_log_error(_log, errors)


def _requeue(message: Any, *, errors: tuple[type[Exception], ...]) -> None:
    try:
        message.requeue()
    except errors as error:
        # The connection is gone, and the broker has the message back.
        _log.debug("a message is left to the broker: %s", type(error).__name__)


def _unknown_task_name(error: Exception) -> object:
    """Return the name of a task that Celery looked up in vain."""
    return error.args[0] if error.args else None


def _do_nothing() -> None:
    """There is nothing to undo."""
