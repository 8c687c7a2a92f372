"""Suppressions and limits, applied in the transaction that records emails.

The rows are inserted first: from then on nobody else writes to SQLite until the transaction ends. On
PostgreSQL a lock for each address, user and source has the same effect: no two emails are the last within a
limit.
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

from mailctl.delivery_log.due import is_claimable_single
from mailctl.delivery_log.storage.batches import is_among
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, suppressions
from mailctl.delivery_log.suppressions import (
    SuppressionScope,
    explain_suppression,
    find_suppressions,
    suppression_from_row,
)
from mailctl.delivery_log.transitions import append_events, change_state, reason_values
from mailctl.delivery_log.unsubscribes import explain_unsubscribe, find_unsubscribes, has_unsubscribed
from mailctl.domain.catalog import can_unsubscribe
from mailctl.domain.mailbox import canonical_mailbox
from mailctl.domain.rate_limits import (
    ALL_KINDS,
    GLOBAL_SETTING,
    PER_RECIPIENT_SETTING,
    PER_SOURCE_SETTING,
    PER_USER_SETTING,
    RateLimits,
    describe_counted_emails,
)
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import CLAIMABLE_STATES, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.domain.models import Draft
    from mailctl.domain.rate_limits import RateLimit

#: Without the index: the planner must not read all emails that belong to no campaign.
_IS_NOT_CAMPAIGN = func.coalesce(emails.c.campaign, "") == ""
_IS_COUNTED = and_(
    _IS_NOT_CAMPAIGN,
    emails.c.state != State.SUPPRESSED,
    # Whoever publishes invalid messages must not keep valid ones from their address.
    func.coalesce(emails.c.reason_code, "") != ReasonCode.INVALID_MESSAGE,
)


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The subject whose emails a limit counts."""

    #: The prefix of its locks.
    name: str
    #: The column of the emails that has it.
    column: str
    setting: str
    #: How a reason names it.
    description: str


_MAILBOX = _Subject(name="to", column="mailbox", setting=PER_RECIPIENT_SETTING, description="to one address")
_USER = _Subject(name="user", column="user_id", setting=PER_USER_SETTING, description="to one user")
_SOURCE = _Subject(
    name="source",
    column="source",
    setting=PER_SOURCE_SETTING,
    description="from one block of IP addresses",
)


class Rules:
    """Applies suppressions and limits to emails that are being recorded, except forced ones.

    Args:
        limits: how many emails may be sent to one address, to one user, for one source, and in all.
            Campaigns are exempt: each has one email per address, and a rate.
    """

    def __init__(self, limits: RateLimits | None = None) -> None:
        self._limits = limits or RateLimits()

    @property
    def can_delay(self) -> bool:
        """Whether the rules can delay emails."""
        return self._limits.global_limit is not None

    def apply(self, connection: Connection, drafts: Sequence[Draft], *, now: datetime) -> dict[str, str]:
        """Suppress or delay emails as the rules say, in the transaction that has just recorded them.

        Returns:
            Why each suppressed email was suppressed, by id.
        """
        ruled = [draft for draft in drafts if draft.request.forced_by is None]
        addresses = [draft.content.user.email for draft in ruled]
        listed = find_suppressions(connection, addresses)
        refused = {
            draft.id: explain_suppression(entry)
            for draft in (ruled if listed else ())
            if (entry := listed.get(draft.content.user.email.lower()))
            and entry.stops(can_unsubscribe=can_unsubscribe(draft))
        }
        _suppress(connection, refused, code=ReasonCode.SUPPRESSED_ADDRESS, now=now)
        left = find_unsubscribes(connection, addresses) if any(map(can_unsubscribe, ruled)) else {}
        unwanted = {
            draft.id: explain_unsubscribe(unsubscribed)
            for draft in (ruled if left else ())
            if (unsubscribed := left.get((draft.content.user.email.lower(), draft.kind)))
            and draft.id not in refused
            and can_unsubscribe(draft)
        }
        _suppress(connection, unwanted, code=ReasonCode.UNSUBSCRIBED, now=now)
        refused |= unwanted
        counted = [draft for draft in ruled if draft.request.campaign is None and draft.id not in refused]
        over = self._over_limit(connection, counted, now)
        _suppress(connection, over, code=ReasonCode.OVER_LIMIT, now=now)
        if self._limits.global_limit is not None:
            going = [draft for draft in counted if draft.id not in over and draft.request.is_due_at_once]
            _delay(connection, going, self._limits.global_limit, now)
        return refused | over

    def _over_limit(self, connection: Connection, drafts: Sequence[Draft], now: datetime) -> dict[str, str]:
        bounds = {draft.id: bounds for draft in drafts if (bounds := self._applicable_limits(draft))}
        if bounds and connection.dialect.name == "postgresql":
            _lock(
                connection,
                {f"{bound.subject.name}/{bound.value}" for several in bounds.values() for bound in several},
            )
        # Each email is counted against those before it: these are not decided yet.
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
        """Return the limits in which an email counts."""
        user, limits = draft.content.user, self._limits
        subjects = (
            (_MAILBOX, canonical_mailbox(user.email), limits.per_recipient),
            (_USER, user.id, limits.per_user),
            (_SOURCE, draft.request.source, limits.per_source),
        )
        return [
            _AppliedLimit(subject=subject, value=value, kind=kind, limit=limit)
            for subject, value, by_kind in subjects
            if value is not None
            for kind in (draft.kind, ALL_KINDS)
            for limit in by_kind.get(kind, ())
        ]


@dataclass(frozen=True, kw_only=True)
class _AppliedLimit:
    """A limit, applied to one address, user or source."""

    subject: _Subject
    value: str
    kind: str
    limit: RateLimit

    @property
    def reason(self) -> str:
        limit = self.limit.describe(describe_counted_emails(self.kind))
        return f"over the limit of {limit} {self.subject.description} ({self.subject.setting})"


#: The suppressions that stop an email of their address.
_STOPS = or_(suppressions.c.scope == SuppressionScope.ALL, emails.c.can_unsubscribe.is_(True))
_SELECT_WAITING_SUPPRESSED = (
    select(emails.c.id, suppressions)
    .join(suppressions, suppressions.c.address == func.lower(emails.c.to_address))
    .where(
        _STOPS,
        is_among(emails.c.id, "ids"),
        UNINDEXED_STATE.in_(CLAIMABLE_STATES),
        emails.c.is_forced.is_(False),
    )
)


_SELECT_WAITING_UNSUBSCRIBED = select(emails.c.id, emails.c.to_address, emails.c.kind).where(
    has_unsubscribed(),
    is_among(emails.c.id, "ids"),
    UNINDEXED_STATE.in_(CLAIMABLE_STATES),
    emails.c.is_forced.is_(False),
)


def is_not_suppressed() -> ColumnElement[bool]:
    """Return the condition that no suppression and no unsubscribe stops an email, or that it is forced."""
    return or_(emails.c.is_forced.is_(True), ~or_(is_to_suppressed_address(), has_unsubscribed()))


def is_to_suppressed_address() -> ColumnElement[bool]:
    """Return the condition that a suppression of its address would stop an email that is not forced."""
    is_same = suppressions.c.address == func.lower(emails.c.to_address)
    return exists().where(is_same, _STOPS).correlate(emails)


def suppress_waiting(
    connection: Connection, ids: Collection[str], *, worker: str, now: datetime
) -> dict[str, str]:
    """Suppress those of the emails whose address was suppressed, or unsubscribed, while they waited.

    Args:
        worker: the node name of the worker that would have sent them.

    Returns:
        Why each of them was suppressed, by id.
    """
    found = {
        row.id: explain_suppression(suppression_from_row(row))
        for row in connection.execute(_SELECT_WAITING_SUPPRESSED, {"ids": list(ids)})
    }
    _suppress(connection, found, code=ReasonCode.SUPPRESSED_ADDRESS, now=now, worker=worker)
    rows = connection.execute(_SELECT_WAITING_UNSUBSCRIBED, {"ids": list(ids)}).all()
    left = find_unsubscribes(connection, [row.to_address for row in rows])
    unwanted = {
        row.id: explain_unsubscribe(entry)
        for row in rows
        if (entry := left.get((row.to_address.lower(), row.kind)))
    }
    _suppress(connection, unwanted, code=ReasonCode.UNSUBSCRIBED, now=now, worker=worker)
    return found | unwanted


def _suppress(
    connection: Connection,
    reasons: dict[str, str],
    *,
    code: ReasonCode,
    now: datetime,
    worker: str | None = None,
) -> None:
    by_reason: dict[str, list[str]] = {}
    for email_id, reason in reasons.items():
        by_reason.setdefault(reason, []).append(email_id)
    for reason, ids in by_reason.items():
        values = reason_values(Reason(code=code, text=reason))
        values |= {"worker": worker, "queued_at": None, "queued_in": None}
        are_they = emails.c.id.in_(ids)
        change_state(connection, are_they, State.SUPPRESSED, text=reason, values=values, now=now, code=code)


def _lock(connection: Connection, keys: Collection[str]) -> None:
    """Lock addresses and users until this transaction ends, in a fixed order to avoid deadlocks."""
    for key in sorted(keys):
        number = int.from_bytes(hashlib.sha256(f"mailctl/{key}".encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def _is_limit_reached(
    connection: Connection, bound: _AppliedLimit, *, but: Collection[str], now: datetime
) -> bool:
    """Whether a limit is reached, not counting suppressed emails and campaigns."""
    values = {
        "value": bound.value,
        "kind": bound.kind,
        "since": now - bound.limit.window,
        "but": list(but),
        "most": bound.limit.count,
    }
    statement = _count_query(bound.subject, is_of_one_kind=bound.kind != ALL_KINDS)
    found: int = connection.execute(statement, values).scalar_one()
    return found >= bound.limit.count


@cache
def _count_query(subject: _Subject, *, is_of_one_kind: bool) -> Select[Any]:
    """Return the query that counts emails within a limit; cached, because building it takes long."""
    column = emails.c[subject.column]
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
    """Delay emails that are over the limit for all emails: one after the other, at the rate of the limit."""
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
                reason=f"delayed by the limit of {limit.describe('emails')} ({GLOBAL_SETTING})",
                now=now,
            )


_LAST_WAITING = (
    select(emails.c.due_at)
    .where(
        emails.c.state == State.PENDING,
        is_claimable_single(),
        emails.c.reason_code == ReasonCode.OVER_GLOBAL_LIMIT,
    )
    .order_by(emails.c.due_at.desc())
    .limit(1)
)


def _oldest_in_window_query(limit: RateLimit, *, but: Collection[str], now: datetime) -> Select[Any]:
    """Return the query for when the oldest of the emails was recorded that reach the limit together."""
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
    is_it, code = emails.c.id == email_id, ReasonCode.OVER_GLOBAL_LIMIT
    values = reason_values(Reason(code=code, text=reason)) | {"due_at": until, "not_before": until}
    on_broker = values | {"queued_at": None, "queued_in": None}
    if not change_state(connection, is_it, State.PENDING, text=reason, values=on_broker, now=now, code=code):
        connection.execute(update(emails).where(is_it).values(**values))
        append_events(connection, [email_id], text=reason, now=now, code=code)
