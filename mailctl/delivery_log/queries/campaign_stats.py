"""Campaigns: what was asked for each, and how far it is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from mailctl.delivery_log.queries.queue_stats import RATE_WINDOW, newest_events
from mailctl.delivery_log.storage.batches import batches
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import campaigns, emails
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

#: The states in which an attempt, or the email, has ended.
_ENDED_STATES = (State.SENT, State.CAPTURED, State.FAILED)
#: The pace of a campaign is that of this period, so that a pause or an earlier rate is soon forgotten; the
#: pace of a slow one, of which fewer than `_MANY` emails ended in it, is that of `RATE_WINDOW`.
_SHORT_WINDOW = timedelta(minutes=1)
_MANY = 10
#: The shortest period over which emails are counted: one that has just ended is not thousands a second.
_MIN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class CampaignPace:
    """How fast emails of a campaign end."""

    #: Emails a second.
    per_second: float = 0.0
    #: The seconds over which they were counted, from the first of them until now.
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CampaignCounts:
    """A campaign, and how many of its emails are in each state."""

    name: str
    #: None if its emails were recorded without a campaign of their own, or it was pruned.
    kind: str | None
    #: Emails a second that all workers together may send; None for no limit.
    rate: float | None
    created_at: datetime | None
    states: Mapping[State, int]
    #: How fast its emails ended in the last minutes.
    pace: CampaignPace
    #: When its last email was recorded, and when one was last changed.
    recorded_at: datetime
    changed_at: datetime


def count_campaigns(
    engine: Engine, *, now: datetime, name: str | None = None, changed_since: datetime | None = None
) -> list[CampaignCounts]:
    """Return the campaigns with their counts, the one that was recorded last first.

    Args:
        engine: of the delivery log.
        now: the current time, aware.
        name: only this campaign; None for all.
        changed_since: only campaigns whose emails have changed since; None for all.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    where: ColumnElement[bool] = emails.c.campaign.is_not(None) if name is None else emails.c.campaign == name
    changed_at = func.max(emails.c.updated_at)
    times = (
        select(
            emails.c.campaign,
            func.max(emails.c.created_at).label("recorded_at"),
            changed_at.label("changed_at"),
        )
        .where(where)
        .group_by(emails.c.campaign)
    )
    if changed_since is not None:
        times = times.having(changed_at >= changed_since)
    recent = newest_events(since=now - RATE_WINDOW)
    is_short = recent.c.at > now - _SHORT_WINDOW
    short = (func.count().filter(is_short), func.min(case((is_short, recent.c.at))))
    ended = (
        select(emails.c.campaign, func.count(), func.min(recent.c.at), *short)
        .join(recent, recent.c.email_id == emails.c.id)
        .where(recent.c.state.in_(_ENDED_STATES), where)
        .group_by(emails.c.campaign)
    )
    with reading(engine) as connection:
        found = {row.campaign: row for row in connection.execute(times)}
        states = _count_states(connection, found)
        paces = {campaign: _pace(*row, now=now) for campaign, *row in connection.execute(ended)}
        recorded: dict[str, Any] = {row.id: row for row in connection.execute(select(campaigns))}
    counts = [
        _counts(row, states[each], recorded.get(each), paces.get(each, CampaignPace()))
        for each, row in found.items()
    ]
    return sorted(counts, key=lambda each: each.recorded_at, reverse=True)


def _count_states(connection: Connection, names: Collection[str]) -> dict[str, dict[State, int]]:
    """Return how many emails of these campaigns are in each state.

    With the states as a condition, all that is read is in the index of due emails.
    """
    states: defaultdict[str, dict[State, int]] = defaultdict(dict)
    query = select(emails.c.campaign, emails.c.state, func.count()).group_by(
        emails.c.campaign, emails.c.state
    )
    for some in batches(list(names)):
        wanted = query.where(emails.c.state.in_(list(State)), emails.c.campaign.in_(some))
        for campaign, state, count in connection.execute(wanted):
            states[campaign][State(state)] = count
    return states


def campaign_names(engine: Engine) -> list[str]:
    """Return the names of the recorded campaigns, the latest first.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = select(campaigns.c.id).order_by(campaigns.c.created_at.desc())
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


def _pace(
    number: int, first: datetime, short_number: int, short_first: datetime | None, *, now: datetime
) -> CampaignPace:
    """Return the pace of emails that ended: how many since when, in the last minutes and in the last one."""
    if short_number >= _MANY and short_first is not None:
        number, first = short_number, short_first
    seconds = max((now - first).total_seconds(), _MIN_SECONDS)
    return CampaignPace(per_second=number / seconds, seconds=seconds)


def _counts(times: Any, states: Mapping[State, int], campaign: Any, pace: CampaignPace) -> CampaignCounts:
    return CampaignCounts(
        name=times.campaign,
        kind=campaign.kind if campaign else None,
        rate=campaign.rate if campaign else None,
        created_at=campaign.created_at if campaign else None,
        states=states,
        pace=pace,
        recorded_at=times.recorded_at,
        changed_at=times.changed_at,
    )
