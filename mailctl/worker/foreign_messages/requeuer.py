"""The requeuer: a thread that puts messages of other apps back on their queue when their delay is over.

It acknowledges a message only after the broker has another copy of it. If the process dies at any moment, the
broker still has the original.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from amqp.exceptions import MessageNacked

from mailctl.broker.messages import summarize_tasks
from mailctl.errors import MailctlError
from mailctl.worker.foreign_messages.held_messages import DelayQueue, HeldMessages
from mailctl.worker.foreign_messages.message import BATCH_SIZE
from mailctl.worker.foreign_messages.mover import move_all
from mailctl.worker.foreign_messages.pace import RequeuePace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.delivery_log.foreign_messages import ForeignMessages
    from mailctl.worker.foreign_messages.copier import MessageCopier
    from mailctl.worker.foreign_messages.held_messages import DelayedMessage
    from mailctl.worker.foreign_messages.message import ForeignMessage
    from mailctl.worker.foreign_messages.schedule import RequeueSchedule

_log = logging.getLogger("mailctl.worker")

#: Seconds before a failed requeue is tried again.
_RETRY_SECONDS = 1.0
#: Seconds that the thread waits for new messages at most.
_TICK_SECONDS = 0.5
#: Seconds that a stopping worker waits for the thread.
_STOP_SECONDS = 3.0


class MessageRequeuer:
    """Holds messages of other apps until they are due, and puts them back.

    Args:
        log: counts how often each message was requeued.
        copier: copies messages on AMQP; None on brokers that kombu emulates.
        depth: returns how many messages a queue has; it may raise any error of the driver.
        call_soon: schedules a function in the consumer's thread.
        connection_errors: the driver's errors for a lost connection, which the worker opens again.
        acknowledge: acknowledges a message of which the broker has a copy; called in the consumer's thread.
        schedule: the delays and limits.
        on_tick: called in the consumer's thread about twice a second while messages are held.
    """

    def __init__(
        self,
        log: ForeignMessages,
        *,
        copier: MessageCopier | None,
        depth: Callable[[str], int],
        call_soon: Callable[[Callable[[], None]], object],
        connection_errors: tuple[type[Exception], ...],
        acknowledge: Callable[[ForeignMessage], None],
        schedule: RequeueSchedule,
        on_tick: Callable[[], None],
    ) -> None:
        self._log = log
        self._copier = copier
        self._depth = depth
        self._pace = RequeuePace(self._depth_or_zero)
        self._call_soon = call_soon
        self._acknowledge = acknowledge
        self._connection_errors = connection_errors
        self._schedule = schedule
        self._on_tick = on_tick
        #: A None wakes the thread up.
        self._arrivals: queue.SimpleQueue[DelayedMessage | None] = queue.SimpleQueue()
        self._delayed = DelayQueue()
        self._held = HeldMessages(schedule)
        self._has_failed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mailctl-foreign", daemon=True)

    @property
    def is_full(self) -> bool:
        """Whether the next message is to be added as an overflow message."""
        return self._held.is_full

    @property
    def has_overflow_room(self) -> bool:
        """Whether the worker may receive another message although the requeuer is full."""
        return self._held.has_overflow_room

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, delayed: DelayedMessage) -> None:
        """Hold a message; to be called in the consumer's thread."""
        self._held.add(delayed)
        self._arrivals.put(delayed)

    def stop(self) -> list[ForeignMessage]:
        """Stop the thread, and return the messages that are still held."""
        self._stopped.set()
        self._arrivals.put(None)
        self._thread.join(_STOP_SECONDS)
        return self._held.foreign_messages()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._schedule_all(self._wait_for_arrivals())
            self._process(self._delayed.pop_due(now=time.monotonic()))
            if self._held:
                self._call_soon(self._on_tick)
        if self._copier:
            self._copier.close()

    def _wait_for_arrivals(self) -> list[DelayedMessage]:
        due_at = self._delayed.next_due_at
        seconds = _TICK_SECONDS if due_at is None else due_at - time.monotonic()
        found: list[DelayedMessage] = []
        try:
            delayed = self._arrivals.get(timeout=min(max(seconds, 0.001), _TICK_SECONDS))
            while delayed is not None:
                found.append(delayed)
                delayed = self._arrivals.get_nowait()
        except queue.Empty:
            pass
        return found

    def _schedule_all(self, arrived: Sequence[DelayedMessage]) -> None:
        """Decide when each message is due."""
        for delayed in arrived:
            if delayed.is_overflow:
                self._delayed.push(delayed, self._pace.due(delayed.foreign.queue, now=time.monotonic()))
        regular = [delayed for delayed in arrived if not delayed.is_overflow]
        with self._retrying_on_error(regular):
            digests = {delayed.foreign.digest for delayed in regular}
            counts = self._log.requeue_counts(digests) if digests else {}
            for delayed in regular:
                delayed.requeue_count = counts.get(delayed.foreign.digest, 0)
                seconds = self._schedule.delay_seconds(delayed.requeue_count) or 0.0
                self._delayed.push(delayed, time.monotonic() + seconds)

    def _depth_or_zero(self, name: str) -> int:
        try:
            return self._depth(name)
        except Exception as error:  # of any driver; with 0, there is a pause after each message
            _log.debug("cannot read the depth of queue %r: %s", name, type(error).__name__)
            return 0

    def _process(self, due: Sequence[DelayedMessage]) -> None:
        groups: dict[tuple[str, int | None, bool], list[DelayedMessage]] = {}
        for delayed in due:
            key = (delayed.foreign.queue, delayed.requeue_count, delayed.is_overflow)
            groups.setdefault(key, []).append(delayed)
        for (name, requeue_count, is_overflow), group in groups.items():
            if is_overflow:
                self._transfer(group, name)
            elif requeue_count is None:
                self._schedule_all(group)
            elif self._schedule.delay_seconds(requeue_count) is None:
                self._move_to_unclaimed(name, group)
            else:
                self._requeue(name, requeue_count, group)

    def _requeue(self, name: str, requeue_count: int, group: Sequence[DelayedMessage]) -> None:
        """Put messages back on their queue; each requeue is counted first, so that requeuing always ends."""
        with self._retrying_on_error(group):
            uncounted = [delayed for delayed in group if not delayed.is_recorded]
            if uncounted:
                self._log.record_requeues([delayed.foreign.digest for delayed in uncounted])
                summary = _summary(uncounted)
                progress = f"{requeue_count + 1} of {len(self._schedule.delays)}"
                _log.info("put messages of other apps back on queue %r (%s): %s", name, progress, summary)
            for delayed in uncounted:
                delayed.is_recorded = True
            self._transfer(group, name)

    def _move_to_unclaimed(self, name: str, group: Sequence[DelayedMessage]) -> None:
        target = group[0].foreign.unclaimed_queue_name
        with self._retrying_on_error(group):
            unrecorded = [delayed for delayed in group if not delayed.is_recorded]
            if unrecorded:
                # Before the move, so that an operator who restores the messages gives them new rounds.
                self._log.forget([delayed.foreign.digest for delayed in unrecorded])
                summary = _summary(unrecorded)
                _log.warning("moved messages of other apps from queue %r to %r: %s", name, target, summary)
            for delayed in unrecorded:
                delayed.is_recorded = True
            self._transfer(group, target)

    def _transfer(self, group: Sequence[DelayedMessage], target: str) -> None:
        """Put messages on a queue, and let the worker take others in their place."""
        if self._copier is None:
            # In one call, because an event loop does not keep the order of calls.
            self._call_soon(partial(self._move_all, group, target))
            return
        for start in range(0, len(group), BATCH_SIZE):
            batch = group[start : start + BATCH_SIZE]
            try:
                errors = self._copier.copy_all([delayed.foreign for delayed in batch], target)
            except Exception as error:  # of any driver; no message of the batch has been copied
                self._retry_later(group[start:], error)
                return
            self._finish_copies(batch, errors, target)

    def _finish_copies(
        self, batch: Sequence[DelayedMessage], errors: Sequence[Exception | None], target: str
    ) -> None:
        """Acknowledge the messages that have a copy, and copy the others alone or later."""
        copied, alone = [], []
        for delayed, error in zip(batch, errors, strict=True):
            if error is None:
                copied.append(delayed)
            elif len(batch) == 1 or isinstance(error, (*self._connection_errors, MessageNacked)):
                self._retry_later([delayed], error)
            else:
                # The broker or the driver refused one message, and the channel closed before the others.
                alone.append(delayed)
        self._call_soon(partial(self._acknowledge_all, copied))
        for delayed in alone:
            self._transfer([delayed], target)

    def _acknowledge_all(self, copied: Sequence[DelayedMessage]) -> None:
        for delayed in self._release(copied):
            self._has_failed = False
            self._acknowledge(delayed.foreign)
            delayed.release_slot()

    def _move_all(self, group: Sequence[DelayedMessage], target: str) -> None:
        """Move messages on a broker that kombu emulates; runs in the consumer's thread."""
        released = self._release(group)
        errors = move_all([delayed.foreign for delayed in released], target)
        for delayed, error in zip(released, errors, strict=True):
            if error is None:
                delayed.release_slot()
            else:
                self.add(delayed)
        if failed := next(filter(None, errors), None):  # such as a Redis server that is out of memory
            _log.error("cannot put messages of other apps back yet: %s", type(failed).__name__)

    def _release(self, group: Sequence[DelayedMessage]) -> list[DelayedMessage]:
        """Remove messages from those held, and return them; none once the requeuer has stopped."""
        return [] if self._stopped.is_set() else self._held.remove(group)

    @contextmanager
    def _retrying_on_error(self, group: Sequence[DelayedMessage]) -> Iterator[None]:
        try:
            yield
        except MailctlError as error:
            self._retry_later(group, error)

    def _retry_later(self, group: Sequence[DelayedMessage], error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            reason = str(error) if isinstance(error, MailctlError) else _error_name(error)
            _log.error("cannot put messages of other apps back; holding them until it works: %s", reason)
        for delayed in group:
            self._delayed.push(delayed, time.monotonic() + _RETRY_SECONDS)


def _error_name(error: Exception) -> str:
    """Return the name and reply code of a driver's error; its text may quote the message."""
    code = getattr(error, "reply_code", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__


def _summary(group: Sequence[DelayedMessage]) -> str:
    return summarize_tasks([delayed.foreign.task for delayed in group])
