"""Follows the events of the delivery log as they happen."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.event_feed import EventFilter, FeedEntry, last_event_before, read_events
from mailctl.delivery_log.queries.search import EmailFilter
from mailctl.operations.known_names import check_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mailctl.runtime import Runtime

#: Events that are read together.
_PAGE_SIZE = 500
#: Seconds between two looks at the log.
_POLL_SECONDS = 0.5
#: How long an event may become visible after one with a higher number, in seconds.
LATE_SECONDS = 2.0


def list_events(runtime: Runtime, wanted: EventFilter, *, since: datetime) -> Iterator[FeedEntry]:
    """Yield the events since a time that match a filter, in their order, up to the newest one.

    Raises:
        NotFound: the queue or the campaign of the filter is unknown.
        LogUnavailable: the delivery log cannot be read.
    """
    after, is_empty = last_event_before(runtime.engine, since), True
    for entry in _read_after(runtime, wanted, after):
        is_empty = False
        yield entry
    if is_empty:
        _check_names(runtime, wanted)


def follow_events(runtime: Runtime, wanted: EventFilter, *, since: datetime | None) -> Iterator[FeedEntry]:
    """Yield the events that match a filter as they happen, without an end.

    Two transactions that end at the same time may number their events in another order than they end; an
    event that appears late with a lower number than one that was seen is found within `LATE_SECONDS`.

    Args:
        runtime: the components of this process.
        wanted: the filter.
        since: begin with the events since this time; None begins with the next one.

    Raises:
        NotFound: the queue or the campaign of the filter is unknown.
        LogUnavailable: the delivery log cannot be read.
    """
    _check_names(runtime, wanted)
    window = LateEvents(last_event_before(runtime.engine, since))
    while True:
        newest = last_event_before(runtime.engine, None)
        for entry in _read_after(runtime, wanted, window.begin):
            if window.add(entry.seq):
                yield entry
        window.advance(newest, now=time.monotonic())
        time.sleep(_POLL_SECONDS)


class LateEvents:
    """The end of the log in which events may still appear between those that were seen.

    Args:
        begin: the number of the event after which it begins.
    """

    def __init__(self, begin: int) -> None:
        #: The number of the last event before which none can appear any more.
        self.begin = begin
        self._seen: set[int] = set()
        #: The newest event at each look at the log, with the time of that look in monotonic seconds.
        self._looks: deque[tuple[float, int]] = deque()

    def add(self, seq: int) -> bool:
        """Note an event; return whether it is new."""
        is_new = seq not in self._seen
        self._seen.add(seq)
        return is_new

    def advance(self, newest: int, *, now: float) -> None:
        """Forget what has been there for `LATE_SECONDS`.

        Args:
            newest: the newest event of the whole log, whether it matches or not, before it was read.
            now: monotonic seconds.
        """
        self._looks.append((now, newest))
        while self._looks[0][0] <= now - LATE_SECONDS:
            self.begin = max(self.begin, self._looks.popleft()[1])
        self._seen = {seq for seq in self._seen if seq > self.begin}


def _read_after(runtime: Runtime, wanted: EventFilter, after: int) -> Iterator[FeedEntry]:
    """Yield the matching events after one, page by page."""
    while found := read_events(runtime.engine, wanted, after=after, limit=_PAGE_SIZE):
        yield from found
        if len(found) < _PAGE_SIZE:
            return
        after = found[-1].seq


def _check_names(runtime: Runtime, wanted: EventFilter) -> None:
    """Raise if the queue or the campaign is unknown: a misspelt one would have no event for ever."""
    check_names(runtime, EmailFilter(queue=wanted.queue, campaign=wanted.campaign))
