"""Results of statistics: frozen values, with the sums and rates that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.states import ACCEPTED_STATES, UNFINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The states of emails that ended unsent although nobody stopped them.
FAILED_STATES = frozenset({State.FAILED, State.EXPIRED})
#: Whoever marks an email as spam has it.
_DELIVERED_STATES = frozenset({State.DELIVERED, State.COMPLAINED})


class Dimension(StrEnum):
    """The properties by which emails can be grouped."""

    KIND = "kind"
    STATE = "state"
    ERROR = "error"  #: the reply codes of the mail server, or the beginning of the error
    HOUR = "hour"  #: when they were recorded, in UTC
    DOMAIN = "domain"  #: of the recipient
    PROVIDER = "provider"  #: of the recipient's mailbox
    QUEUE = "queue"
    CAMPAIGN = "campaign"
    SERVER = "server"  #: the mail server of the last attempt; "" if mailctl asked none


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many emails are in each state; states without emails are left out."""

    states: Mapping[State, int]

    @property
    def recorded(self) -> int:
        """All emails."""
        return sum(self.states.values())

    @property
    def sent(self) -> int:
        """Emails that a mail server accepted, whatever became of them later."""
        return self._count_in(ACCEPTED_STATES)

    @property
    def delivered(self) -> int:
        """Emails of which feedback says that the recipient's mail server has them."""
        return self._count_in(_DELIVERED_STATES)

    @property
    def bounced(self) -> int:
        """Emails that were accepted, and given up later."""
        return self.states.get(State.BOUNCED, 0)

    @property
    def cancelled(self) -> int:
        """Emails that an operator cancelled."""
        return self.states.get(State.CANCELLED, 0)

    @property
    def suppressed(self) -> int:
        """Emails that were not sent because their recipient is suppressed."""
        return self.states.get(State.SUPPRESSED, 0)

    @property
    def complained(self) -> int:
        """Emails that their recipients marked as spam."""
        return self.states.get(State.COMPLAINED, 0)

    @property
    def delivered_rate(self) -> float | None:
        """The share of delivered emails in those that a mail server accepted; None if there are none."""
        return self.delivered / self.sent if self.sent else None

    @property
    def bounced_rate(self) -> float | None:
        """The share of bounced emails in those that a mail server accepted; None if there are none."""
        return self.bounced / self.sent if self.sent else None

    @property
    def complained_rate(self) -> float | None:
        """The share of complaints in the emails that a mail server accepted; None if there are none."""
        return self.complained / self.sent if self.sent else None

    @property
    def captured(self) -> int:
        """Emails that were written to files instead of being sent."""
        return self.states.get(State.CAPTURED, 0)

    @property
    def failed(self) -> int:
        """Emails that failed or expired."""
        return self._count_in(FAILED_STATES)

    @property
    def unconfirmed(self) -> int:
        """Emails of which nobody knows whether they were sent; they count as neither sent nor failed."""
        return self.states.get(State.UNCONFIRMED, 0)

    @property
    def unfinished(self) -> int:
        """Emails that are not in a final state."""
        return self._count_in(UNFINISHED_STATES)

    @property
    def failure_rate(self) -> float | None:
        """The share of failed emails in those that were sent, captured or failed; None if there are none."""
        tried = self.sent + self.captured + self.failed
        return self.failed / tried if tried else None

    def _count_in(self, states: frozenset[State]) -> int:
        return sum(count for state, count in self.states.items() if state in states)


@dataclass(frozen=True, kw_only=True)
class StatsGroup:
    """A group of emails that have the value of one dimension in common."""

    #: The value, such as a kind; "" for emails without one, such as those of no campaign.
    name: str
    totals: Totals
    #: The share of the group in all counted emails, including those of groups that are left out.
    share: float


@dataclass(frozen=True, kw_only=True)
class StatsPoint:
    """The emails that were recorded within an interval, by how they have ended so far."""

    at: datetime
    recorded: int
    sent: int
    captured: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Percentiles of latencies: seconds from when an email could be sent to when it was accepted."""

    #: How many emails were measured.
    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The activity in a period."""

    #: How many emails were recorded.
    recorded: int
    #: How many times an email entered each state.
    entered: Mapping[State, int]

    @property
    def sent(self) -> int:
        """How many times a mail server accepted an email."""
        return self.entered.get(State.SENT, 0)

    @property
    def captured(self) -> int:
        """How many times an email was written to a file instead of being sent."""
        return self.entered.get(State.CAPTURED, 0)

    @property
    def failed(self) -> int:
        """How many times an email failed or expired."""
        return sum(self.entered.get(state, 0) for state in FAILED_STATES)

    @property
    def ended(self) -> int:
        """How many times an email was sent or captured, failed or expired."""
        return self.sent + self.captured + self.failed

    @property
    def failure_rate(self) -> float | None:
        """The share of failures in what ended; None if nothing did."""
        return self.failed / self.ended if self.ended else None
