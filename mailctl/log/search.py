"""Finding emails by what is known of them: filters that compose, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select

from mailctl.log.database import reading
from mailctl.log.rows import EMAIL_COLUMNS, email_from
from mailctl.log.tables import emails

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from mailctl.message import Email, State


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What emails have to have in common; what is left out does not matter."""

    states: Sequence[State] = ()
    kinds: Sequence[str] = ()
    user_id: str | None = None
    #: A part of the address, upper or lower case.
    to: str | None = None
    queue: str | None = None
    campaign: str | None = None
    #: A part of the reason, such as the reply code of the mail server.
    error: str | None = None
    #: Recorded at that time or later.
    since: datetime | None = None
    #: Recorded before that time.
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the emails that were found."""

    emails: tuple[Email, ...]
    #: What to give as `after` for the next page; None if this is the last one.
    cursor: int | None


def search(
    engine: Engine, wanted: Filter, *, limit: int, after: int | None = None, oldest_first: bool = False
) -> Page:
    """Return the emails that fit, in the order in which they were recorded.

    Args:
        limit: how many at most.
        after: the cursor of the page before.
        oldest_first: else the newest come first.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    conditions = _conditions(wanted)
    if after is not None:
        conditions.append(emails.c.seq > after if oldest_first else emails.c.seq < after)
    order = emails.c.seq.asc() if oldest_first else emails.c.seq.desc()
    query: Any = select(*EMAIL_COLUMNS, emails.c.seq).where(*conditions).order_by(order)
    with reading(engine) as connection:
        rows = connection.execute(query.limit(limit + 1)).all()
    shown = rows[:limit]
    return Page(
        emails=tuple(email_from(row) for row in shown),
        cursor=shown[-1].seq if len(rows) > limit else None,
    )


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found.append(emails.c.state.in_(wanted.states))
    if wanted.kinds:
        found.append(emails.c.kind.in_(wanted.kinds))
    if wanted.user_id is not None:
        found.append(emails.c.user_id == wanted.user_id)
    if wanted.to is not None:
        found.append(emails.c.to_address.icontains(wanted.to, autoescape=True))
    if wanted.queue is not None:
        found.append(emails.c.queue == wanted.queue)
    if wanted.campaign is not None:
        found.append(emails.c.campaign == wanted.campaign)
    if wanted.error is not None:
        found.append(emails.c.error.icontains(wanted.error, autoescape=True))
    if wanted.since is not None:
        found.append(emails.c.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(emails.c.created_at < wanted.until)
    return found
