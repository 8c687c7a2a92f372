"""Campaigns: progress, the rate that is asked for and kept, the expected end, failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.campaign_stats import count_campaigns
from mailctl.domain.states import ACCEPTED_STATES, FINAL_STATES, UNFINISHED_STATES, State
from mailctl.monitoring.errors import find_errors
from mailctl.operations.known_names import unknown_campaign
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.queries.campaign_stats import CampaignCounts
    from mailctl.monitoring.errors import ErrorGroup
    from mailctl.runtime import Runtime

#: States of emails of a campaign that nobody stopped and that did not arrive.
_FAILED_STATES = frozenset({State.FAILED, State.EXPIRED})
#: A campaign misbehaves if so many of its emails failed, and such a share of those that ended.
MANY_FAILED = 10
MAX_FAILED_SHARE = 0.05
#: A campaign falls behind if it keeps less than this share of its rate, over at least this time.
MIN_KEPT_SHARE = 0.5
MIN_SECONDS = 30.0
#: Emails in these states end at times of their own: the next attempt, or the release by an operator.
_PUT_OFF_STATES = frozenset({State.DEFERRED, State.HELD})


@dataclass(frozen=True, kw_only=True)
class CampaignStatus:
    """How far a campaign is."""

    name: str
    kind: str | None
    #: Emails a second that all workers together may send; None for no limit.
    rate: float | None
    #: Emails a second that reached a final state in the last minutes.
    kept_rate: float
    #: The seconds over which that was measured.
    measured_seconds: float
    created_at: datetime | None
    #: When one of its emails was last changed.
    changed_at: datetime
    #: How many of its emails are in each state; states without any are left out.
    states: Mapping[State, int]
    #: The pause that keeps it from being sent: its own, or that of its kind or queue; None if there is none.
    pause: Pause | None
    at: datetime
    #: Whether a worker is alive that could send it.
    is_served: bool = True

    @property
    def total(self) -> int:
        """The number of its emails."""
        return sum(self.states.values())

    @property
    def sent(self) -> int:
        """The number of emails that a mail server accepted, or that were captured."""
        return self._count(ACCEPTED_STATES | {State.CAPTURED})

    @property
    def captured(self) -> int:
        """The number of emails that were written to files instead of being sent."""
        return self._count(frozenset({State.CAPTURED}))

    @property
    def failed(self) -> int:
        """The number of emails that failed or expired."""
        return self._count(_FAILED_STATES)

    @property
    def bounced(self) -> int:
        """The number of emails that a mail server accepted, and that came back."""
        return self._count(frozenset({State.BOUNCED}))

    @property
    def complained(self) -> int:
        """The number of emails that their recipients marked as spam."""
        return self._count(frozenset({State.COMPLAINED}))

    @property
    def waiting(self) -> int:
        """The number of emails that are not finished."""
        return self._count(UNFINISHED_STATES)

    @property
    def progress(self) -> float:
        """The share of its emails that are finished, from 0 to 1."""
        return self._count(FINAL_STATES) / self.total

    @property
    def failed_share(self) -> float | None:
        """The share of what failed or bounced in all that has ended; None if nothing has."""
        lost = self.failed + self.bounced
        ended = self.sent + lost
        return lost / ended if ended else None

    @property
    def cancelled(self) -> int:
        """The number of emails that an operator cancelled."""
        return self._count(frozenset({State.CANCELLED}))

    @property
    def expected_end(self) -> datetime | None:
        """When each of its emails has been tried, except those that are deferred or held.

        It follows from the rate that is asked for, and from the one that is kept where that is far lower or
        there is no limit. None if there are no such emails, or if it cannot be said.
        """
        ready = self.waiting - self._count(_PUT_OFF_STATES)
        if not ready or self.pause is not None or not self.is_served or not self.kept_rate:
            return None
        rate = self.kept_rate if self.rate is None or self.is_behind else self.rate
        return self.at + timedelta(seconds=ready / rate)

    @property
    def is_at_rate(self) -> bool:
        """Whether the expected end follows from the rate that is asked for, not from the one that is kept."""
        return self.rate is not None and not self.is_behind

    @property
    def is_failing(self) -> bool:
        """Whether more of its emails fail than single wrong addresses explain."""
        lost = self.failed + self.bounced
        return lost >= MANY_FAILED and (self.failed_share or 0) > MAX_FAILED_SHARE

    @property
    def is_behind(self) -> bool:
        """Whether it keeps far less than its rate although emails are ready and nobody paused it."""
        # The workers may be busy with its last emails, or not have begun.
        ready = self.waiting - self._count(_PUT_OFF_STATES)
        is_running = bool(ready and self.kept_rate) and self.pause is None
        if self.measured_seconds < MIN_SECONDS:
            return False
        return is_running and self.rate is not None and self.kept_rate < MIN_KEPT_SHARE * self.rate

    def _count(self, states: frozenset[State]) -> int:
        return sum(count for state, count in self.states.items() if state in states)


@dataclass(frozen=True, kw_only=True)
class CampaignDetails:
    """How far a campaign is, and why its emails failed."""

    status: CampaignStatus
    #: Its failures and deferrals, the most frequent first.
    errors: tuple[ErrorGroup, ...]


def list_campaigns(
    runtime: Runtime, *, changed_since: datetime | None = None, is_served: bool | None = None
) -> list[CampaignStatus]:
    """Return the campaigns of the delivery log, the latest first.

    Args:
        runtime: the components of this process.
        changed_since: only campaigns whose emails have changed since; None for all.
        is_served: whether a worker is alive, on which the expected end depends; None to look.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    now, pauses = runtime.clock(), runtime.pauses.read()
    found = count_campaigns(runtime.engine, now=now, changed_since=changed_since)
    if is_served is None:
        is_served = bool(runtime.workers.list_alive())
    return [_status(counts, pauses, now=now, is_served=is_served) for counts in found]


def find_campaign(runtime: Runtime, name: str) -> CampaignDetails:
    """Return how far a campaign is, and why its emails failed.

    Raises:
        NotFound: the delivery log has no email of this campaign.
        LogUnavailable: the delivery log cannot be read.
    """
    now = runtime.clock()
    found = count_campaigns(runtime.engine, now=now, name=name)
    if not found:
        raise unknown_campaign(runtime, name)
    [counts] = found
    since = counts.created_at or now - timedelta(days=30)
    errors = find_errors(runtime, since=since, campaign=name)
    is_served = bool(runtime.workers.list_alive())
    status = _status(counts, runtime.pauses.read(), now=now, is_served=is_served)
    return CampaignDetails(status=status, errors=tuple(errors))


def _status(counts: CampaignCounts, pauses: list[Pause], *, now: datetime, is_served: bool) -> CampaignStatus:
    names = {
        PauseScope.CAMPAIGN: counts.name,
        PauseScope.KIND: counts.kind,
        PauseScope.QUEUE: BULK_QUEUE,
    }
    return CampaignStatus(
        name=counts.name,
        kind=counts.kind,
        rate=counts.rate,
        kept_rate=counts.pace.per_second,
        measured_seconds=counts.pace.seconds,
        created_at=counts.created_at,
        changed_at=counts.changed_at,
        states=counts.states,
        pause=next((pause for pause in pauses if names.get(pause.scope) == pause.name), None),
        at=now,
        is_served=is_served,
    )
