"""What must not go out, or not yet: suppressed addresses and limits, applied where emails are recorded.

The rows are inserted first: from then on SQLite lets nobody else write until the transaction ends, and on
PostgreSQL a lock for each address and user does the same, so that no two emails take the last free place.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, update

from mailctl.limits import ALL_KINDS, GLOBAL, PER_RECIPIENT, PER_USER, Limits
from mailctl.log.suppressions import entry_from, explain, reasons_for
from mailctl.log.tables import emails, suppressions
from mailctl.log.transitions import append_events, move
from mailctl.message import CLAIMABLE_STATES, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.limits import Limit
    from mailctl.message import Draft

#: How the reason begins why an email waits for the ceiling over all.
OVER_CEILING = "over the ceiling: "
#: Not an index: the planner must not walk through all emails that belong to no campaign.
_IS_SINGLE = func.coalesce(emails.c.campaign, "") == ""
_COUNTS = and_(_IS_SINGLE, emails.c.state != State.SUPPRESSED)


class Rules:
    """Applies the rules to emails that are being recorded; those that an operator forces pass.

    Args:
        limits: how many may go to whom; campaigns are exempt, for each has one email per address and a rate.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def apply(self, connection: Connection, drafts: Sequence[Draft], *, now: datetime) -> dict[str, str]:
        """Suppress or delay what the rules say, in the transaction that has just recorded the emails.

        Returns:
            Why, for each that is suppressed now, by id.
        """
        subject = [draft for draft in drafts if draft.forced_by is None]
        listed = reasons_for(connection, [draft.content.user.email for draft in subject])
        refused = {
            draft.id: listed[address]
            for draft in subject
            if (address := draft.content.user.email.lower()) in listed
        }
        _suppress(connection, refused, now=now)
        counted = [draft for draft in subject if draft.campaign is None and draft.id not in refused]
        over = self._over_limit(connection, counted, now)
        _suppress(connection, over, now=now)
        if self._limits.overall is not None:
            going = [draft for draft in counted if draft.id not in over and draft.not_before is None]
            _delay(connection, going, self._limits.overall, now)
        return refused | over

    def _over_limit(self, connection: Connection, drafts: Sequence[Draft], now: datetime) -> dict[str, str]:
        limited = [draft for draft in drafts if any(self._limits_of(draft))]
        if connection.dialect.name == "postgresql":
            _lock(connection, {key for draft in limited for key, *_ in self._limits_of(draft)})
        waiting = {draft.id for draft in limited}
        refused: dict[str, str] = {}
        for draft in limited:
            # Each is counted against those before it; `waiting` are not refused nor passed yet.
            for _, is_counted, limit, whom, setting in self._limits_of(draft):
                if _count(connection, is_counted, limit, waiting, now) >= limit.count:
                    refused[draft.id] = f"over the limit of {limit} to one {whom} ({setting})"
                    break
            if draft.id not in refused:
                waiting.discard(draft.id)
        return refused

    def _limits_of(self, draft: Draft) -> Iterator[tuple[str, ColumnElement[bool], Limit, str, str]]:
        """Return the limits that an email is counted for: key, what is counted, limit, of what, setting."""
        user = draft.content.user
        address = user.email.lower()
        holders = [(f"to/{address}", emails.c.to_address == address, "address", PER_RECIPIENT)]
        if user.id is not None:
            holders.append((f"user/{user.id}", emails.c.user_id == user.id, "user", PER_USER))
        for key, is_holder, whom, setting in holders:
            limits = self._limits.per_recipient if setting == PER_RECIPIENT else self._limits.per_user
            for limit in limits.get(draft.kind, ()):
                yield key, and_(is_holder, emails.c.kind == draft.kind), limit, whom, setting
            for limit in limits.get(ALL_KINDS, ()):
                yield key, is_holder, limit, whom, setting


def suppress_waiting(
    connection: Connection, ids: Collection[str], *, worker: str, now: datetime
) -> dict[str, str]:
    """Suppress those of the emails whose address was put on the list while they waited.

    Args:
        worker: who would have sent them.

    Returns:
        Why, by id.
    """
    query = (
        select(emails.c.id, suppressions)
        .join(suppressions, suppressions.c.address == func.lower(emails.c.to_address))
        .where(
            emails.c.id.in_(ids),
            emails.c.state.in_(CLAIMABLE_STATES),
            emails.c.is_forced.is_(False),
        )
    )
    found = {row.id: explain(entry_from(row)) for row in connection.execute(query)}
    _suppress(connection, found, now=now, worker=worker)
    return found


def _suppress(
    connection: Connection, reasons: dict[str, str], *, now: datetime, worker: str | None = None
) -> None:
    by_reason: dict[str, list[str]] = {}
    for email_id, reason in reasons.items():
        by_reason.setdefault(reason, []).append(email_id)
    for reason, ids in by_reason.items():
        values = {"error": reason, "worker": worker, "queued_at": None, "queued_in": None}
        move(connection, emails.c.id.in_(ids), State.SUPPRESSED, text=reason, values=values, now=now)


def _lock(connection: Connection, keys: Collection[str]) -> None:
    """Let nobody else count for the same address or user until this transaction ends; always in order."""
    for key in sorted(keys):
        number = int.from_bytes(hashlib.sha256(f"mailctl/{key}".encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def _count(
    connection: Connection,
    is_counted: ColumnElement[bool],
    limit: Limit,
    but: Collection[str],
    now: datetime,
) -> int:
    recent = (
        select(literal(1))
        .where(is_counted, emails.c.created_at > now - limit.window, _COUNTS, emails.c.id.not_in(but))
        .limit(limit.count)
    )
    return connection.execute(select(func.count()).select_from(recent.subquery())).scalar_one()


def _delay(connection: Connection, drafts: Sequence[Draft], limit: Limit, now: datetime) -> None:
    """Let emails over the ceiling wait: one after the other, at the pace of the limit."""
    last: datetime | None = connection.execute(_LAST_WAITING.where(emails.c.due_at > now)).scalar()
    going = [draft.id for draft in drafts]
    while going:
        if last is None:
            recent = _recent(limit, but=going, now=now)
            oldest: datetime | None = connection.execute(recent).scalar()
            last = oldest + limit.window if oldest is not None else None
        else:
            last += limit.window / limit.count
        email_id = going.pop(0)
        if last is not None:
            _wait(connection, email_id, until=last, reason=f"{OVER_CEILING}{limit} ({GLOBAL})", now=now)


_LAST_WAITING = (
    select(emails.c.due_at)
    .where(
        emails.c.state == State.PENDING, emails.c.campaign.is_(None), emails.c.error.startswith(OVER_CEILING)
    )
    .order_by(emails.c.due_at.desc())
    .limit(1)
)


def _recent(limit: Limit, *, but: Collection[str], now: datetime) -> Select[Any]:
    """Return the question for the time of the oldest of the emails that fill the ceiling."""
    return (
        select(emails.c.created_at)
        .where(emails.c.created_at > now - limit.window, _COUNTS, emails.c.id.not_in(but))
        .order_by(emails.c.created_at.desc())
        .offset(limit.count - 1)
        .limit(1)
    )


def _wait(connection: Connection, email_id: str, *, until: datetime, reason: str, now: datetime) -> None:
    is_it = emails.c.id == email_id
    values: dict[str, Any] = {"due_at": until, "not_before": until, "error": reason}
    on_broker = values | {"queued_at": None, "queued_in": None}
    if not move(connection, is_it, State.PENDING, text=reason, values=on_broker, now=now):
        connection.execute(update(emails).where(is_it).values(**values))
        append_events(connection, [email_id], text=reason, now=now)
