"""Follows the events of the delivery log as they happen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.event_feed import EventFilter, FeedEntry, last_event_before, read_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mailctl.runtime import Runtime

#: Events that are read together.
_PAGE_SIZE = 500
#: Seconds between two looks at a log without new events.
_POLL_SECONDS = 0.5


def list_events(runtime: Runtime, wanted: EventFilter, *, since: datetime) -> Iterator[FeedEntry]:
    """Yield the events since a time that match a filter, in their order, up to the newest one.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    after = last_event_before(runtime.engine, since)
    while found := read_events(runtime.engine, wanted, after=after, limit=_PAGE_SIZE):
        yield from found
        after = found[-1].seq


def follow_events(runtime: Runtime, wanted: EventFilter, *, since: datetime | None) -> Iterator[FeedEntry]:
    """Yield the events that match a filter as they happen, without an end.

    Two transactions that end at the same time may number their events in another order than they end; an
    event that appears late with a lower number than one that was seen is found within a second.

    Args:
        runtime: the components of this process.
        wanted: the filter.
        since: begin with the events since this time; None begins with the next one.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    after, seen = last_event_before(runtime.engine, since), set[int]()
    while True:
        found = read_events(runtime.engine, wanted, after=after, limit=_PAGE_SIZE)
        yield from (entry for entry in found if entry.seq not in seen)
        if len(found) == _PAGE_SIZE:
            after, seen = found[-1].seq, set()
            continue
        # Look at the newest ones again, because others may appear between them.
        seen = {entry.seq for entry in found}
        if len(seen) > _PAGE_SIZE // 2:
            after = found[len(found) // 2].seq
        time.sleep(_POLL_SECONDS)
