"""What waits for a relay, found by the index alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from mailctl.log.tables import emails
from mailctl.message import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

#: Emails in one of these wait for a relay.
WAITING_STATES = (State.DEFERRED, State.PENDING)


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
