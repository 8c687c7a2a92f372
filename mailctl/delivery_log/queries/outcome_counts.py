"""Counts of outcomes by kind, which only grow: each event that gives an email an outcome counts once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl.delivery_log.queries.statistics import first_event_seq_since
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import is_state_change
from mailctl.domain.states import FINAL_STATES, SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: The states that are outcomes of an attempt, or the end of an email.
OUTCOMES = tuple(state for state in State if state in FINAL_STATES or state is State.DEFERRED)
#: Transactions of events that are older than this have ended, so that none of an earlier number is missed.
_SETTLED_AFTER = timedelta(seconds=5)
#: How many of the newest emails are asked when one was sent last.
_NEWEST = 1000


class OutcomeCounts:
    """The counts of one process: the events that there are at first, and those that follow.

    Pruning old emails does not lower them, as long as the process runs.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._next_seq = 0

    def update(self, engine: Engine, *, now: datetime) -> Counter[tuple[str, str]]:
        """Count the new events, and return the counts by kind and state.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        with reading(engine) as connection:
            end = first_event_seq_since(connection, now - _SETTLED_AFTER)
            query: Any = (
                select(emails.c.kind, events.c.state, func.count().label("number"))
                .join_from(events, emails, events.c.email_id == emails.c.id)
                .where(
                    events.c.seq >= self._next_seq,
                    events.c.seq < end,
                    events.c.state.in_(OUTCOMES),
                    is_state_change(),
                )
                .group_by(emails.c.kind, events.c.state)
            )
            for row in connection.execute(query):
                self.counts[row.kind, row.state] += row.number
        self._next_seq = max(self._next_seq, end)
        return self.counts


def last_sent_at(engine: Engine) -> datetime | None:
    """Return when an email was sent or captured last; None if none of the newest ones was.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    newest = [
        select(emails.c.sent_at).where(emails.c.state == state).order_by(emails.c.seq.desc()).limit(_NEWEST)
        for state in sorted(SENT_OR_CAPTURED)
    ]
    with reading(engine) as connection:
        times = [connection.execute(select(func.max(each.subquery().c.sent_at))).scalar() for each in newest]
    return max((at for at in times if at is not None), default=None)
