"""What counting the delivery log gives: frozen values, with the sums and rates that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.models import DELIVERED_STATES, UNFINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The email ended without going where it should, and nobody had wished that.
FAILED_STATES = frozenset({State.FAILED, State.EXPIRED})


class Dimension(StrEnum):
    """What emails can be counted by."""

    KIND = "kind"
    STATE = "state"
    ERROR = "error"  #: the reply codes of the mail server, else the beginning of the reason
    HOUR = "hour"  #: in which they were recorded, in UTC
    DOMAIN = "domain"  #: of the recipient
    QUEUE = "queue"
    CAMPAIGN = "campaign"


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many emails are in each state; states without any are left out."""

    states: Mapping[State, int]

    @property
    def recorded(self) -> int:
        """All of them."""
        return sum(self.states.values())

    @property
    def delivered(self) -> int:
        """Sent or captured."""
        return self._count_in(DELIVERED_STATES)

    @property
    def failed(self) -> int:
        """Refused, out of attempts, or too late."""
        return self._count_in(FAILED_STATES)

    @property
    def unfinished(self) -> int:
        """Something may still become of them."""
        return self._count_in(UNFINISHED_STATES)

    @property
    def failure_rate(self) -> float | None:
        """The share of those that failed in those that were tried to the end; None if there are none."""
        tried = self.delivered + self.failed
        return self.failed / tried if tried else None

    def _count_in(self, states: frozenset[State]) -> int:
        return sum(count for state, count in self.states.items() if state in states)


@dataclass(frozen=True, kw_only=True)
class StatsGroup:
    """The emails that have one thing in common."""

    #: What that is, such as a kind; "" for those that have none, such as no campaign.
    name: str
    totals: Totals
    #: Of all emails that were counted, those of no shown group included.
    share: float


@dataclass(frozen=True, kw_only=True)
class StatsPoint:
    """The emails that were recorded within one span of time, and what became of them so far."""

    at: datetime
    recorded: int
    delivered: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds from the moment an email might go out to the moment the mail server took it."""

    #: How many emails this was counted from.
    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyHistogram:
    """How many emails were accepted how fast."""

    #: How many within so many seconds.
    cumulative_counts: Mapping[float, int]
    count: int
    #: All of them together.
    sum_seconds: float


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What happened in a span of time."""

    #: Emails that were recorded.
    recorded: int
    #: How often an email entered each state.
    entered: Mapping[State, int]

    @property
    def delivered(self) -> int:
        """Emails that went where they should."""
        return sum(self.entered.get(state, 0) for state in DELIVERED_STATES)

    @property
    def failed(self) -> int:
        """Emails that failed."""
        return sum(self.entered.get(state, 0) for state in FAILED_STATES)

    @property
    def failure_rate(self) -> float | None:
        """The share of those that failed in those that ended; None if none did."""
        ended = self.delivered + self.failed
        return self.failed / ended if ended else None
