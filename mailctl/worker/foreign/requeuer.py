"""Keeps the messages of other apps for a while, in a thread of its own, and puts them back on their queue.

Nothing here acknowledges what is not safe elsewhere: when this process ends at any moment, the broker still
has the original.
"""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from amqp.exceptions import MessageNacked

from mailctl.broker.messages import summarize_tasks
from mailctl.errors import MailctlError
from mailctl.worker.foreign.message import BATCH, move_all
from mailctl.worker.foreign.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.delivery_log.foreign_messages import ForeignMessages
    from mailctl.worker.foreign.message import ForeignMessage, MessageCopier

_log = logging.getLogger("mailctl.worker")

#: Messages, and octets of their bodies, that may be on their way back at once beyond what is kept.
_MOST_PASSING = 100
_MOST_PASSING_BYTES = 4 * 1024 * 1024
#: Seconds before what failed is tried again.
_RETRY_SECONDS = 1.0
#: Seconds between looks for anything else to do.
_TICK_SECONDS = 0.5
#: Seconds that a worker that stops waits for the broker.
_STOP_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class RequeueSchedule:
    """When a message of another app goes back to its queue, and when it is moved aside."""

    #: Seconds before each time that it is put back: the worker of its own app may be about to start, and
    #: neither may this one spin nor a delivery limit of the queue destroy the message.
    delays: tuple[float, ...] = (1.0, 10.0, 60.0)
    #: Messages, and bytes of their bodies, that wait in a worker at the same time; what comes then goes back
    #: at once. Without bounds a long queue of another app would fill the memory.
    max_messages: int = 1000
    max_bytes: int = 64 * 1024 * 1024

    def delay_seconds(self, rounds: int) -> float | None:
        """Return how long to wait with a message that was put back so many times; None moves it aside."""
        return self.delays[rounds] if rounds < len(self.delays) else None


@dataclass(kw_only=True, eq=False)
class DelayedMessage:
    """A message that waits."""

    foreign: ForeignMessage
    #: Gives back what the worker may have of its own in the meantime.
    release_slot: Callable[[], None]
    #: Whether this wait counts as a round.
    counts_as_round: bool = True
    #: How often it was put back before, and None until that is known.
    rounds: int | None = None
    #: Whether the delivery log and the text log know of what becomes of it now.
    is_recorded: bool = False


@dataclass(order=True)
class _HeapEntry:
    at: float
    number: int
    kept: DelayedMessage = field(compare=False)


class MessageRequeuer:
    """Keeps messages until their time has come.

    Args:
        log: counts the rounds.
        copier: None on brokers that kombu plays.
        depth: returns how many messages a queue has; may raise any error of the broker's.
        run_soon: calls a function in the thread that receives messages.
        connection_errors: what says that the connection is gone; the worker makes a new one.
        acknowledge: acknowledges a message whose copy is safe; to be called in that thread.
        schedule: how long to wait.
        each_turn: called in that thread, about twice a second while messages are kept.
    """

    def __init__(
        self,
        log: ForeignMessages,
        *,
        copier: MessageCopier | None,
        depth: Callable[[str], int],
        run_soon: Callable[[Callable[[], None]], object],
        connection_errors: tuple[type[Exception], ...],
        acknowledge: Callable[[ForeignMessage], None],
        schedule: RequeueSchedule,
        each_turn: Callable[[], None],
    ) -> None:
        self._log = log
        self._copier = copier
        self._ask_depth = depth
        self._pace = Pace(self._depth)
        self._run_soon = run_soon
        self._acknowledge = acknowledge
        self._connection_errors = connection_errors
        self._schedule = schedule
        self._each_turn = each_turn
        self._arrived: queue.SimpleQueue[DelayedMessage | None] = queue.SimpleQueue()
        self._waiting: list[_HeapEntry] = []
        #: Every message that is kept, by its identity; bytes of their bodies.
        self._kept: dict[int, DelayedMessage] = {}
        self._bytes = 0
        #: The same of those that are not kept, and only pass.
        self._passing = 0
        self._passing_bytes = 0
        self._number = 0
        self._is_in_trouble = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mailctl-foreign", daemon=True)

    @property
    def is_full(self) -> bool:
        """Whether what comes now goes back at once."""
        return len(self._kept) >= self._schedule.max_messages or self._bytes >= self._schedule.max_bytes

    def start(self) -> None:
        """Begin to keep messages."""
        self._thread.start()

    @property
    def may_pass_more(self) -> bool:
        """Whether the worker may receive another message while those that are not kept are on their way."""
        return self._passing < _MOST_PASSING and self._passing_bytes < _MOST_PASSING_BYTES

    def add(self, kept: DelayedMessage) -> None:
        """Keep a message; in the thread that receives messages."""
        self._kept[id(kept)] = kept
        self._count(kept, 1)
        self._arrived.put(kept)

    def _count(self, kept: DelayedMessage, number: int) -> None:
        self._bytes += number * kept.foreign.size
        if not kept.counts_as_round:
            self._passing += number
            self._passing_bytes += number * kept.foreign.size

    def stop(self) -> list[ForeignMessage]:
        """End, and return what was kept and is still the worker's."""
        self._stopped.set()
        self._arrived.put(None)
        self._thread.join(_STOP_SECONDS)
        return [kept.foreign for kept in self._kept.values()]

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._schedule_all(self._await_arrivals())
            self._process_due(self._pop_due())
            if self._kept:
                self._run_soon(self._each_turn)
        if self._copier:
            self._copier.close()

    def _await_arrivals(self) -> list[DelayedMessage]:
        seconds = self._waiting[0].at - time.monotonic() if self._waiting else _TICK_SECONDS
        found: list[DelayedMessage] = []
        try:
            kept = self._arrived.get(timeout=min(max(seconds, 0.001), _TICK_SECONDS))
            while kept is not None:
                found.append(kept)
                kept = self._arrived.get_nowait()
        except queue.Empty:
            pass
        return found

    def _schedule_all(self, arrived: Sequence[DelayedMessage]) -> None:
        """Find out how long each message has to wait."""
        for kept in arrived:
            if not kept.counts_as_round:
                self._schedule_at(kept, self._pace.due(kept.foreign.queue, now=time.monotonic()))
        counting = [kept for kept in arrived if kept.counts_as_round]
        with self._retrying_on_error(counting):
            rounds = self._log.requeue_counts({kept.foreign.digest for kept in counting}) if counting else {}
            for kept in counting:
                kept.rounds = rounds.get(kept.foreign.digest, 0)
                self._schedule_at(kept, time.monotonic() + (self._schedule.delay_seconds(kept.rounds) or 0.0))

    def _depth(self, queue: str) -> int:
        try:
            return self._ask_depth(queue)
        except Exception as error:  # whatever the driver raises; then there is a pause after each message
            _log.debug("the depth of queue %r is not known: %s", queue, type(error).__name__)
            return 0

    def _schedule_at(self, kept: DelayedMessage, until: float) -> None:
        self._number += 1
        heapq.heappush(self._waiting, _HeapEntry(until, self._number, kept))

    def _pop_due(self) -> list[DelayedMessage]:
        now, due = time.monotonic(), []
        while self._waiting and self._waiting[0].at <= now:
            due.append(heapq.heappop(self._waiting).kept)
        return due

    def _process_due(self, due: Sequence[DelayedMessage]) -> None:
        groups: dict[tuple[str, int | None, bool], list[DelayedMessage]] = {}
        for kept in due:
            groups.setdefault((kept.foreign.queue, kept.rounds, kept.counts_as_round), []).append(kept)
        for (name, rounds, counts), group in groups.items():
            if not counts:
                self._transfer(group, name)
            elif rounds is None:
                self._schedule_all(group)
            elif self._schedule.delay_seconds(rounds) is None:
                self._move_to_unclaimed(name, group)
            else:
                self._requeue(name, rounds, group)

    def _requeue(self, name: str, rounds: int, group: Sequence[DelayedMessage]) -> None:
        """Put messages back on their queue, after they are counted: whatever happens then, the rounds end."""
        with self._retrying_on_error(group):
            uncounted = [kept for kept in group if not kept.is_recorded]
            if uncounted:
                self._log.record_requeues([kept.foreign.digest for kept in uncounted])
                turn, messages = f"{rounds + 1} of {len(self._schedule.delays)}", _summary(uncounted)
                _log.info("put back on queue %r, where no task here is meant (%s): %s", name, turn, messages)
            for kept in uncounted:
                kept.is_recorded = True
            self._transfer(group, name)

    def _move_to_unclaimed(self, name: str, group: Sequence[DelayedMessage]) -> None:
        aside = group[0].foreign.unclaimed_queue_name
        with self._retrying_on_error(group):
            unnoted = [kept for kept in group if not kept.is_recorded]
            if unnoted:
                # First, so that an operator who restores them gives them new rounds.
                self._log.forget([kept.foreign.digest for kept in unnoted])
                _log.warning(
                    "moved from queue %r to %r, as nobody takes it: %s", name, aside, _summary(unnoted)
                )
            for kept in unnoted:
                kept.is_recorded = True
            self._transfer(group, aside)

    def _transfer(self, group: Sequence[DelayedMessage], target: str) -> None:
        """Let messages go to a queue, and the worker take others in their place."""
        if self._copier is None:
            # All of them together: an event loop keeps no order.
            self._run_soon(partial(self._move_all, group, target))
            return
        for start in range(0, len(group), BATCH):
            batch = group[start : start + BATCH]
            try:
                errors = self._copier.copy_all([kept.foreign for kept in batch], target)
            except Exception as error:  # of whatever type: all of them are still the worker's
                self._retry_later(group[start:], error)
                return
            self._settle(batch, errors, target)

    def _settle(
        self, batch: Sequence[DelayedMessage], errors: Sequence[Exception | None], target: str
    ) -> None:
        """Let those messages be acknowledged whose copies are safe, and copy others one by one or later."""
        safe, alone = [], []
        for kept, error in zip(batch, errors, strict=True):
            if error is None:
                safe.append(kept)
            elif len(batch) == 1 or isinstance(error, (*self._connection_errors, MessageNacked)):
                self._retry_later([kept], error)
            else:
                # One that the broker or the driver does not take has kept others from being copied.
                alone.append(kept)
        self._run_soon(partial(self._acknowledge_all, safe))
        for kept in alone:
            self._transfer([kept], target)

    def _acknowledge_all(self, safe: Sequence[DelayedMessage]) -> None:
        for kept in self._let_go(safe):
            self._is_in_trouble = False
            self._acknowledge(kept.foreign)
            kept.release_slot()

    def _move_all(self, group: Sequence[DelayedMessage], target: str) -> None:
        """Move messages in the thread that receives them."""
        let_go = self._let_go(group)
        errors = move_all([kept.foreign for kept in let_go], target)
        for kept, error in zip(let_go, errors, strict=True):
            if error is None:
                kept.release_slot()
            else:
                self.add(kept)
        if failed := next(filter(None, errors), None):
            # Such as a Redis that is full: they are still the worker's.
            _log.error("messages of other apps cannot be put back yet: %s", type(failed).__name__)

    def _let_go(self, group: Sequence[DelayedMessage]) -> list[DelayedMessage]:
        """Return those of a group that are not given back already; they are not kept any more."""
        if self._stopped.is_set():
            return []
        ours = [kept for kept in group if self._kept.pop(id(kept), None) is not None]
        for kept in ours:
            self._count(kept, -1)
        return ours

    @contextmanager
    def _retrying_on_error(self, group: Sequence[DelayedMessage]) -> Iterator[None]:
        try:
            yield
        except MailctlError as error:
            self._retry_later(group, error)

    def _retry_later(self, group: Sequence[DelayedMessage], error: Exception) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            reason = str(error) if isinstance(error, MailctlError) else _error_name(error)
            _log.error("messages of other apps are kept until this is over: %s", reason)
        for kept in group:
            self._schedule_at(kept, time.monotonic() + _RETRY_SECONDS)


def _error_name(error: Exception) -> str:
    """Return what a driver says, without what a broker quotes of a message."""
    code = getattr(error, "reply_code", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__


def _summary(group: Sequence[DelayedMessage]) -> str:
    return summarize_tasks([kept.foreign.task for kept in group])
