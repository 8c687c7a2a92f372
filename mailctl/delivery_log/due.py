"""What waits: for a relay, found by the index alone; and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, case, func, select

from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.models import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

#: Emails in one of these wait for a relay.
WAITING_STATES = (State.DEFERRED, State.PENDING)


def waiting_since() -> ColumnElement[datetime]:
    """Return, of an email that waits, since when: the time of a later attempt says nothing of it."""
    is_untried = and_(emails.c.attempts == 0, emails.c.reason_code.is_(None))
    return case(
        (and_(is_untried, emails.c.not_before.is_not(None)), emails.c.not_before), else_=emails.c.created_at
    )


def waiting_campaigns(connection: Connection) -> Iterator[str]:
    """Go through the campaigns that wait for a relay, not through their emails."""
    for state in WAITING_STATES:
        last = ""
        while True:
            query = select(func.min(emails.c.campaign)).where(
                emails.c.state == state, emails.c.campaign > last
            )
            following = connection.execute(query).scalar()
            if following is None:
                break
            last = following
            yield last
