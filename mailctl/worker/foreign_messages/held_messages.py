"""The messages of other apps that a worker holds, and the queue in which they wait for their requeue."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailctl.worker.foreign_messages.message import ForeignMessage
    from mailctl.worker.foreign_messages.schedule import RequeueSchedule

#: Overflow messages, and bytes of their bodies, that may be on their way back at the same time.
_MAX_OVERFLOW_MESSAGES = 100
_MAX_OVERFLOW_BYTES = 4 * 1024 * 1024


@dataclass(kw_only=True, eq=False)
class DelayedMessage:
    """A message that waits for its requeue."""

    foreign: ForeignMessage
    #: Gives back the prefetch slot that the worker received in place of the message's own.
    release_slot: Callable[[], None]
    #: Whether the worker held too many messages when it arrived: it is requeued at once, without a count.
    is_overflow: bool = False
    #: How often it was requeued before; None until the delivery log has been asked.
    requeue_count: int | None = None
    #: Whether the delivery log has counted the requeue that is due now.
    is_recorded: bool = False


class HeldMessages:
    """The messages that a worker has received and neither acknowledged nor put back.

    Only the consumer's thread adds and removes messages.

    Args:
        schedule: the limits.
    """

    def __init__(self, schedule: RequeueSchedule) -> None:
        self._schedule = schedule
        self._messages: dict[int, DelayedMessage] = {}
        self._bytes = 0
        self._overflow_count = 0
        self._overflow_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether the next message is one too many."""
        return len(self) >= self._schedule.max_messages or self._bytes >= self._schedule.max_bytes

    @property
    def has_overflow_room(self) -> bool:
        """Whether the worker may receive another message although it holds too many."""
        return self._overflow_count < _MAX_OVERFLOW_MESSAGES and self._overflow_bytes < _MAX_OVERFLOW_BYTES

    def add(self, delayed: DelayedMessage) -> None:
        """Add a message."""
        self._messages[id(delayed)] = delayed
        self._count(delayed, 1)

    def remove(self, group: Iterable[DelayedMessage]) -> list[DelayedMessage]:
        """Remove messages, and return those that were held until now."""
        removed = [delayed for delayed in group if self._messages.pop(id(delayed), None) is not None]
        for delayed in removed:
            self._count(delayed, -1)
        return removed

    def foreign_messages(self) -> list[ForeignMessage]:
        """Return what is held, in the order of arrival."""
        return [delayed.foreign for delayed in self._messages.values()]

    def _count(self, delayed: DelayedMessage, sign: int) -> None:
        self._bytes += sign * delayed.foreign.size
        if delayed.is_overflow:
            self._overflow_count += sign
            self._overflow_bytes += sign * delayed.foreign.size


@dataclass(order=True)
class _HeapEntry:
    due_at: float
    #: Keeps messages with the same time in order.
    number: int
    delayed: DelayedMessage = field(compare=False)


class DelayQueue:
    """Messages ordered by the time at which they are due, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._heap: list[_HeapEntry] = []
        self._number = 0

    @property
    def next_due_at(self) -> float | None:
        """The time at which the first message is due; None if there is none."""
        return self._heap[0].due_at if self._heap else None

    def push(self, delayed: DelayedMessage, due_at: float) -> None:
        """Add a message that is due at a time."""
        self._number += 1
        heapq.heappush(self._heap, _HeapEntry(due_at, self._number, delayed))

    def pop_due(self, *, now: float) -> list[DelayedMessage]:
        """Remove and return the messages that are due."""
        due: list[DelayedMessage] = []
        while self._heap and self._heap[0].due_at <= now:
            due.append(heapq.heappop(self._heap).delayed)
        return due
