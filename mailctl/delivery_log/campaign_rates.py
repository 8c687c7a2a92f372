"""The rates of campaigns in the delivery log: what was released, and what came back without being sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, select, update

from mailctl.delivery_log.due import WAITING_STATES, waiting_campaigns
from mailctl.delivery_log.storage.tables import campaigns, emails
from mailctl.delivery_log.transitions import change_state
from mailctl.domain.campaign_rate import CampaignRate, InFlight, Release
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from mailctl.domain.reason_codes import ReasonCode


def read_rate(connection: Connection, campaign: str) -> CampaignRate | None:
    """Return the rate of a campaign, and lock it; None, and no lock, if it has none."""
    columns = (campaigns.c.rate, campaigns.c.released_until, campaigns.c.released)
    query = select(*columns).where(campaigns.c.id == campaign)
    row = connection.execute(query).first()
    if row is None or row.rate is None:
        return None
    row = connection.execute(query.with_for_update()).one()
    recent = tuple(_release(*values) for values in row.released or ())
    return CampaignRate(per_second=row.rate, released_until=row.released_until, recent=recent)


def _release(at: float, count: int, queued: int = 0, sending: int = 0, stalled: int = 0) -> Release:
    return Release(
        at=datetime.fromtimestamp(at, UTC),
        count=count,
        in_flight=InFlight(queued=queued, sending=sending),
        is_stalled=bool(stalled),
    )


def record_rate(connection: Connection, campaign: str, rate: CampaignRate) -> None:
    """Record what was released of a campaign."""
    recent = [
        [each.at.timestamp(), each.count, each.in_flight.queued, each.in_flight.sending, int(each.is_stalled)]
        for each in rate.recent
    ]
    values = {"released_until": rate.released_until, "released": recent}
    connection.execute(update(campaigns).where(campaigns.c.id == campaign).values(**values))


def restart_rates(connection: Connection, where: ColumnElement[bool], *, now: datetime) -> None:
    """Restart the rates of campaigns, so that they do not catch up on emails that were not released.

    Args:
        where: selects emails; the rate of each campaign that has such an email waiting is restarted.
    """
    for campaign in waiting_campaigns(connection):
        is_waiting = and_(emails.c.state.in_(WAITING_STATES), emails.c.campaign == campaign)
        is_it = and_(
            campaigns.c.id == campaign, campaigns.c.released_until < now, exists().where(is_waiting, where)
        )
        connection.execute(update(campaigns).where(is_it).values(released_until=now))


def return_to_log(
    connection: Connection,
    where: ColumnElement[bool],
    *,
    text: str,
    values: dict[str, Any],
    now: datetime,
    code: ReasonCode,
    target: State = State.PENDING,
) -> Sequence[Row[Any]]:
    """Return released emails to the log that no mail server was asked to take; see `change_state`.

    They do not count against the rates of their campaigns any more: they will be released once more.
    """
    returning = select(emails.c.id, emails.c.campaign, emails.c.queued_at).where(
        where, emails.c.campaign.is_not(None), emails.c.queued_at.is_not(None)
    )
    # Read before the change, which may empty these columns, and locked, so that nothing else changes them.
    released = connection.execute(returning.with_for_update()).all()
    changed = change_state(connection, where, target, text=text, values=values, now=now, code=code)
    changed_ids = {row.id for row in changed}
    _give_back(connection, [(row.campaign, row.queued_at) for row in released if row.id in changed_ids])
    return changed


def _give_back(connection: Connection, released: Iterable[tuple[str, datetime]]) -> None:
    """Take back what emails count against the rates of their campaigns: each is a campaign and a time."""
    times: defaultdict[str, Counter[datetime]] = defaultdict(Counter)
    for campaign, at in released:
        times[campaign][at] += 1
    # In one order, so that of two transactions one waits for the other.
    for campaign, counts in sorted(times.items()):
        if rate := read_rate(connection, campaign):
            record_rate(connection, campaign, rate.after_return(counts))
