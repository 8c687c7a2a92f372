"""The events of the delivery log in their order, from one to the newest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl.delivery_log.queries.statistics import first_event_seq_since
from mailctl.delivery_log.rows import event_from_row
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Engine

    from mailctl.domain.models import Event
    from mailctl.domain.states import State


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Conditions that events must meet; those that are not given are ignored."""

    states: Sequence[State] = ()
    kinds: Sequence[str] = ()
    queue: str | None = None
    campaign: str | None = None
    #: A part of the recipient's address, in upper or lower case.
    to: str | None = None


@dataclass(frozen=True, kw_only=True)
class FeedEntry:
    """An event with the email that it belongs to."""

    #: The number of the event; they are numbered in their order.
    seq: int
    email_id: str
    kind: str
    to: str
    queue: str
    campaign: str | None
    event: Event

    @property
    def summary(self) -> str:
        """Which email the event is about, what happened, and who did it."""
        event = self.event
        happened = f": {event.text}" if event.text else ""
        by = f" (by {event.actor or event.worker})" if event.actor or event.worker else ""
        return f"{self.kind} to {self.to}{happened}{by}"


def read_events(engine: Engine, wanted: EventFilter, *, after: int, limit: int) -> list[FeedEntry]:
    """Return events that match a filter, in their order.

    Args:
        engine: of the delivery log.
        wanted: the filter.
        after: the number of the event after which they begin.
        limit: how many at most.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    columns = (emails.c.kind, emails.c.to_address, emails.c.queue, emails.c.campaign)
    query = (
        select(events, *columns)
        .join(emails, emails.c.id == events.c.email_id)
        .where(events.c.seq > after, *_conditions(wanted))
        .order_by(events.c.seq)
        .limit(limit)
    )
    with reading(engine) as connection:
        return [_entry(row) for row in connection.execute(query)]


def last_event_before(engine: Engine, since: datetime | None) -> int:
    """Return the number of the last event before a time, or of the newest one for None.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    with reading(engine) as connection:
        if since is not None:
            return first_event_seq_since(connection, since) - 1
        return connection.execute(select(func.max(events.c.seq))).scalar() or 0


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found.append(events.c.state.in_(wanted.states))
    if wanted.kinds:
        found.append(emails.c.kind.in_(wanted.kinds))
    if wanted.queue is not None:
        found.append(emails.c.queue == wanted.queue)
    if wanted.campaign is not None:
        found.append(emails.c.campaign == wanted.campaign)
    if wanted.to is not None:
        found.append(emails.c.to_address.icontains(wanted.to, autoescape=True))
    return found


def _entry(row: Any) -> FeedEntry:
    return FeedEntry(
        seq=row.seq,
        email_id=row.email_id,
        kind=row.kind,
        to=row.to_address,
        queue=row.queue,
        campaign=row.campaign,
        event=event_from_row(row),
    )
