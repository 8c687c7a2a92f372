"""Pauses campaigns whose feedback is too bad, once each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, distinct, func, select, update

from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import campaigns, emails, feedback, pauses
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.domain.campaign_bounds import MIN_ACCEPTED, MIN_BOUNCES, MIN_COMPLAINTS, CampaignBounds
from mailctl.domain.states import ACCEPTED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

#: Who has paused a campaign that paused itself.
ACTOR = "mailctl"


@dataclass(frozen=True, kw_only=True)
class PausedCampaign:
    """A campaign that was paused, and why."""

    name: str
    reason: str


class CampaignGuard(Repository):
    """Looks at the hard bounces and complaints of campaigns, and pauses those with too many.

    A campaign that an operator has resumed is not paused again.

    Args:
        engine: of the delivery log's database, with the current schema.
        bounds: how many are too many.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self, engine: Engine, bounds: CampaignBounds, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(engine, clock=clock)
        self._bounds = bounds
        #: Bounces and complaints of each campaign that were not too many: counting its emails takes long.
        self._seen: dict[str, tuple[int, int]] = {}

    def pause_failing(self) -> list[PausedCampaign]:
        """Pause campaigns that have passed a bound; return them.

        Raises:
            LogUnavailable: the delivery log cannot be read or written.
        """
        found = [
            PausedCampaign(name=name, reason=reason)
            for name, bounces, complaints in self._suspects()
            if self._has_enough_accepted(name) and (reason := self._reason(name, bounces, complaints))
        ]
        return [each for each in found if self._pause(each)]

    def _suspects(self) -> list[tuple[str, int, int]]:
        """Return campaigns with enough hard bounces or complaints, and new ones since the last count."""
        is_complaint = feedback.c.kind == State.COMPLAINED
        bounces = func.count(distinct(feedback.c.email_id)).filter(~is_complaint)
        complaints = func.count(distinct(feedback.c.email_id)).filter(is_complaint)
        query: Any = (
            select(feedback.c.campaign, bounces, complaints)
            .join(campaigns, campaigns.c.id == feedback.c.campaign)
            .where(feedback.c.campaign.is_not(None), campaigns.c.paused_itself_at.is_(None))
            .group_by(feedback.c.campaign)
            .having((bounces >= MIN_BOUNCES) | (complaints >= MIN_COMPLAINTS))
        )
        with reading(self._engine) as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return [(name, *counts) for name, *counts in rows if self._seen.get(name) != tuple(counts)]

    def _has_enough_accepted(self, name: str) -> bool:
        """Whether enough emails were accepted for a verdict; this reads a few entries of an index."""
        accepted = and_(emails.c.state.in_(ACCEPTED_STATES), emails.c.campaign == name)
        query = select(emails.c.campaign).where(accepted).limit(MIN_ACCEPTED)
        with reading(self._engine) as connection:
            return len(connection.execute(query).all()) == MIN_ACCEPTED

    def _reason(self, name: str, bounces: int, complaints: int) -> str:
        query = select(func.count()).where(
            emails.c.campaign == name, (emails.c.state + "").in_(ACCEPTED_STATES)
        )
        with reading(self._engine) as connection:
            accepted = connection.execute(query).scalar_one()
        reason = self._bounds.reason_to_pause(accepted=accepted, bounces=bounces, complaints=complaints)
        if not reason:
            self._seen[name] = (bounces, complaints)
        return reason

    def _pause(self, campaign: PausedCampaign) -> bool:
        """Pause a campaign; return False if another process has done so."""
        now = self._clock()
        is_it = and_(campaigns.c.id == campaign.name, campaigns.c.paused_itself_at.is_(None))
        marked = update(campaigns).where(is_it).values(paused_itself_at=now).returning(campaigns.c.id)
        row = {
            "scope": PauseScope.CAMPAIGN,
            "name": campaign.name,
            "reason": campaign.reason,
            "actor": ACTOR,
            "since": now,
        }
        with writing(self._engine) as connection:
            if connection.execute(marked).first() is None:
                return False
            return insert_or_ignore(connection, pauses, row)
