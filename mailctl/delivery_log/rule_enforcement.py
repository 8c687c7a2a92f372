"""What must not go out, or not yet: suppressed addresses and limits, applied where emails are recorded.

The rows are inserted first: from then on SQLite lets nobody else write until the transaction ends, and on
PostgreSQL a lock for each address and user does the same, so that no two emails take the last free place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, suppressions
from mailctl.delivery_log.suppressions import explain_suppression, suppression_from_row, suppression_reasons
from mailctl.delivery_log.transitions import append_events, change_state
from mailctl.domain.models import CLAIMABLE_STATES, State
from mailctl.domain.rate_limits import (
    ALL_KINDS,
    GLOBAL_SETTING,
    PER_RECIPIENT_SETTING,
    PER_USER_SETTING,
    RateLimits,
    describe_counted_emails,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.domain.models import Draft
    from mailctl.domain.rate_limits import RateLimit

#: How the reason begins why an email waits for the ceiling over all.
GLOBAL_LIMIT_PREFIX = "over the ceiling: "
#: Not an index: the planner must not walk through all emails that belong to no campaign.
_IS_NOT_CAMPAIGN = func.coalesce(emails.c.campaign, "") == ""
_IS_COUNTED = and_(_IS_NOT_CAMPAIGN, emails.c.state != State.SUPPRESSED)


class Rules:
    """Applies the rules to emails that are being recorded; those that an operator forces pass.

    Args:
        limits: how many may go to whom; campaigns are exempt, for each has one email per address and a rate.
    """

    def __init__(self, limits: RateLimits | None = None) -> None:
        self._limits = limits or RateLimits()

    @property
    def can_delay(self) -> bool:
        """Whether they let emails wait."""
        return self._limits.global_limit is not None

    def apply(self, connection: Connection, drafts: Sequence[Draft], *, now: datetime) -> dict[str, str]:
        """Suppress or delay what the rules say, in the transaction that has just recorded the emails.

        Returns:
            Why, for each that is suppressed now, by id.
        """
        ruled = [draft for draft in drafts if draft.request.forced_by is None]
        listed = suppression_reasons(connection, [draft.content.user.email for draft in ruled])
        refused = {
            draft.id: listed[address]
            for draft in ruled
            if (address := draft.content.user.email.lower()) in listed
        }
        _suppress(connection, refused, now=now)
        counted = [draft for draft in ruled if draft.request.campaign is None and draft.id not in refused]
        over = self._over_limit(connection, counted, now)
        _suppress(connection, over, now=now)
        if self._limits.global_limit is not None:
            going = [draft for draft in counted if draft.id not in over and draft.request.is_due_at_once]
            _delay(connection, going, self._limits.global_limit, now)
        return refused | over

    def _over_limit(self, connection: Connection, drafts: Sequence[Draft], now: datetime) -> dict[str, str]:
        bounds = {draft.id: bounds for draft in drafts if (bounds := self._applicable_limits(draft))}
        if bounds and connection.dialect.name == "postgresql":
            _lock(
                connection,
                {f"{bound.subject_type}/{bound.value}" for several in bounds.values() for bound in several},
            )
        # Each is counted against those before it: these are neither refused nor passed yet.
        waiting = set(bounds)
        refused: dict[str, str] = {}
        for email_id, several in bounds.items():
            over = [bound for bound in several if _is_limit_reached(connection, bound, but=waiting, now=now)]
            if over:
                refused[email_id] = over[0].reason
            else:
                waiting.discard(email_id)
        return refused

    def _applicable_limits(self, draft: Draft) -> list[_AppliedLimit]:
        """Return the limits that an email is counted for."""
        user, limits = draft.content.user, self._limits
        address = user.email.lower()
        bounds = [
            _AppliedLimit(subject_type="to", value=address, kind=kind, limit=limit)
            for kind in (draft.kind, ALL_KINDS)
            for limit in limits.per_recipient.get(kind, ())
        ]
        if user.id is not None:
            bounds += [
                _AppliedLimit(subject_type="user", value=user.id, kind=kind, limit=limit)
                for kind in (draft.kind, ALL_KINDS)
                for limit in limits.per_user.get(kind, ())
            ]
        return bounds


@dataclass(frozen=True, kw_only=True)
class _AppliedLimit:
    """A limit of one address or user."""

    #: to or user.
    subject_type: str
    value: str
    kind: str
    limit: RateLimit

    @property
    def reason(self) -> str:
        whom, setting = (
            ("address", PER_RECIPIENT_SETTING) if self.subject_type == "to" else ("user", PER_USER_SETTING)
        )
        limit = self.limit.describe(describe_counted_emails(self.kind))
        return f"over the limit of {limit} to one {whom} ({setting})"


_SELECT_WAITING_SUPPRESSED = (
    select(emails.c.id, suppressions)
    .join(suppressions, suppressions.c.address == func.lower(emails.c.to_address))
    .where(
        emails.c.id.in_(bindparam("ids", expanding=True)),
        UNINDEXED_STATE.in_(CLAIMABLE_STATES),
        emails.c.is_forced.is_(False),
    )
)


def is_not_suppressed() -> ColumnElement[bool]:
    """Return the condition that an email may go to its address."""
    is_listed = exists().where(suppressions.c.address == func.lower(emails.c.to_address)).correlate(emails)
    return or_(emails.c.is_forced.is_(True), ~is_listed)


def suppress_waiting(
    connection: Connection, ids: Collection[str], *, worker: str, now: datetime
) -> dict[str, str]:
    """Suppress those of the emails whose address was put on the list while they waited.

    Args:
        worker: who would have sent them.

    Returns:
        Why, by id.
    """
    found = {
        row.id: explain_suppression(suppression_from_row(row))
        for row in connection.execute(_SELECT_WAITING_SUPPRESSED, {"ids": list(ids)})
    }
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
        change_state(connection, emails.c.id.in_(ids), State.SUPPRESSED, text=reason, values=values, now=now)


def _lock(connection: Connection, keys: Collection[str]) -> None:
    """Let nobody else count for the same address or user until this transaction ends; always in order."""
    for key in sorted(keys):
        number = int.from_bytes(hashlib.sha256(f"mailctl/{key}".encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def _is_limit_reached(
    connection: Connection, bound: _AppliedLimit, *, but: Collection[str], now: datetime
) -> bool:
    """Whether a limit has no place left; suppressed emails and campaigns take none."""
    values = {
        "value": bound.value,
        "kind": bound.kind,
        "since": now - bound.limit.window,
        "but": list(but),
        "most": bound.limit.count,
    }
    statement = _count_query(bound.subject_type, is_of_one_kind=bound.kind != ALL_KINDS)
    found: int = connection.execute(statement, values).scalar_one()
    return found >= bound.limit.count


@cache
def _count_query(holder: str, *, is_of_one_kind: bool) -> Select[Any]:
    """Return the question how many emails take a place; made once, for that takes longer than asking it."""
    column = emails.c.to_address if holder == "to" else emails.c.user_id
    recent = select(literal(1)).where(
        column == bindparam("value"),
        emails.c.created_at > bindparam("since"),
        emails.c.id.not_in(bindparam("but", expanding=True)),
        _IS_COUNTED,
    )
    if is_of_one_kind:
        recent = recent.where(emails.c.kind == bindparam("kind"))
    return select(func.count()).select_from(recent.limit(bindparam("most", type_=Integer)).subquery())


def _delay(connection: Connection, drafts: Sequence[Draft], limit: RateLimit, now: datetime) -> None:
    """Let emails over the ceiling wait: one after the other, at the pace of the limit."""
    last: datetime | None = connection.execute(_LAST_WAITING.where(emails.c.due_at > now)).scalar()
    going = [draft.id for draft in drafts]
    while going:
        if last is None:
            recent = _oldest_in_window_query(limit, but=going, now=now)
            oldest: datetime | None = connection.execute(recent).scalar()
            last = oldest + limit.window if oldest is not None else None
        else:
            last += limit.window / limit.count
        email_id = going.pop(0)
        if last is not None:
            _delay_email(
                connection,
                email_id,
                until=last,
                reason=f"{GLOBAL_LIMIT_PREFIX}{limit.describe('emails')} ({GLOBAL_SETTING})",
                now=now,
            )


_LAST_WAITING = (
    select(emails.c.due_at)
    .where(
        emails.c.state == State.PENDING,
        emails.c.campaign.is_(None),
        emails.c.error.startswith(GLOBAL_LIMIT_PREFIX),
    )
    .order_by(emails.c.due_at.desc())
    .limit(1)
)


def _oldest_in_window_query(limit: RateLimit, *, but: Collection[str], now: datetime) -> Select[Any]:
    """Return the question for the time of the oldest of the emails that fill the ceiling."""
    return (
        select(emails.c.created_at)
        .where(emails.c.created_at > now - limit.window, _IS_COUNTED, emails.c.id.not_in(but))
        .order_by(emails.c.created_at.desc())
        .offset(limit.count - 1)
        .limit(1)
    )


def _delay_email(
    connection: Connection, email_id: str, *, until: datetime, reason: str, now: datetime
) -> None:
    is_it = emails.c.id == email_id
    values: dict[str, Any] = {"due_at": until, "not_before": until, "error": reason}
    on_broker = values | {"queued_at": None, "queued_in": None}
    if not change_state(connection, is_it, State.PENDING, text=reason, values=on_broker, now=now):
        connection.execute(update(emails).where(is_it).values(**values))
        append_events(connection, [email_id], text=reason, now=now)
