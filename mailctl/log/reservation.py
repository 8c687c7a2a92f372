"""Reserving due emails for one relay: others leave them alone for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from mailctl.log.rows import EMAIL_COLUMNS, email_from
from mailctl.log.tables import emails
from mailctl.message import Email, State

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: Seconds for which a relay keeps a due email to itself; should it fail, another tries after that.
RESERVE_SECONDS = 5
#: What a relay publishes; each is asked for by itself, so that the index gives the first ones at once.
_PUBLISHED = (State.DEFERRED, State.PENDING)


def reserve_due(connection: Connection, *, campaign: str | None, limit: int, now: datetime) -> list[Email]:
    """Return up to `limit` emails that are due, and keep them from other relays for `RESERVE_SECONDS`.

    Args:
        campaign: theirs; None for those of none.
    """
    found: list[Email] = []
    for state in _PUBLISHED:
        due = (
            select(emails.c.seq)
            .where(emails.c.state == state, emails.c.campaign.is_not_distinct_from(campaign))
            .where(emails.c.due_at <= now)
            .order_by(emails.c.due_at)
            .limit(limit - len(found))
            .with_for_update(skip_locked=True)
        )
        reserve = (
            update(emails)
            .where(emails.c.seq.in_(due.scalar_subquery()))
            .values(due_at=now + timedelta(seconds=RESERVE_SECONDS))
            .returning(*EMAIL_COLUMNS, emails.c.seq)
        )
        rows = sorted(connection.execute(reserve).all(), key=lambda row: row.seq)
        found += [email_from(row) for row in rows]
        if len(found) == limit:
            break
    return found
