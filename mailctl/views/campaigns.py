"""Campaigns: recording them, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, WithJsonSchema

from mailctl.views.base import Count, Share, Timestamp, View, round_figure
from mailctl.views.errors import ErrorGroupView
from mailctl.views.queues import PauseView
from mailctl.views.stats import StateCounts

if TYPE_CHECKING:
    from mailctl.monitoring.campaigns import CampaignDetails, CampaignStatus

#: Emails per second.
_PerSecond = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})]


class CampaignEmailView(View):
    """An email of a campaign that was recorded."""

    task_id: str
    to: str
    campaign: str


class CampaignView(View):
    """The result of sending a campaign."""

    campaign: str
    recorded: Count = Field(description="New emails.")
    known: Count = Field(description="Emails that were already in the campaign.")
    suppressed: Count = Field(
        description="New emails that will not be sent, because their address is suppressed."
    )
    left_out: Count = Field(description="Users who were excluded.")
    problems: Count = Field(description="Invalid rows.")


class CampaignStatusView(View):
    """How far a campaign is."""

    campaign: str
    kind: str | None = Field(description="Null if its emails were recorded without a campaign of their own.")
    created_at: Timestamp | None
    changed_at: Timestamp = Field(description="When one of its emails was last changed.")
    emails: Count
    sent: Count = Field(description="Accepted by a mail server, or captured.")
    failed: Count = Field(description="Failed or expired.")
    bounced: Count = Field(description="Accepted by a mail server, and came back.")
    complained: Count = Field(description="Marked as spam by their recipients.")
    waiting: Count = Field(description="Not finished.")
    progress: Share = Field(description="The share of its emails that are finished.")
    states: StateCounts
    rate: _PerSecond | None = Field(description="Emails a second of all workers; null for no limit.")
    kept_rate: _PerSecond = Field(
        description="Emails a second that reached a final state in the last minutes."
    )
    expected_end: Timestamp | None = Field(
        description="When each of its emails has been tried, except those that are deferred or held, at its"
        " rate or at the one that it keeps; null if that cannot be said."
    )
    pause: PauseView | None = Field(description="Its pause, or that of its kind.")
    is_failing: bool = Field(description="Whether more emails fail than wrong addresses explain.")
    is_behind: bool = Field(description="Whether it keeps less than half of its rate.")

    @classmethod
    def of(cls, campaign: CampaignStatus) -> CampaignStatusView:
        """Return the view of a campaign."""
        return cls(**_status_fields(campaign))


class CampaignDetailsView(CampaignStatusView):
    """How far a campaign is, and why its emails failed."""

    errors: list[ErrorGroupView] = Field(description="Its failures and deferrals, the most frequent first.")

    @classmethod
    def of_details(cls, found: CampaignDetails) -> CampaignDetailsView:
        """Return the view of a campaign with its errors."""
        errors = [ErrorGroupView.of(group) for group in found.errors]
        return cls(**_status_fields(found.status), errors=errors)


class CampaignRateView(View):
    """The result of changing the rate of a campaign."""

    campaign: str
    rate: _PerSecond | None = Field(description="Emails a second of all workers; null for no limit.")
    rate_before: _PerSecond | None


def _status_fields(campaign: CampaignStatus) -> dict[str, Any]:
    return {
        "campaign": campaign.name,
        "kind": campaign.kind,
        "created_at": campaign.created_at,
        "changed_at": campaign.changed_at,
        "emails": campaign.total,
        "sent": campaign.sent,
        "failed": campaign.failed,
        "bounced": campaign.bounced,
        "complained": campaign.complained,
        "waiting": campaign.waiting,
        "progress": round(campaign.progress, 4),
        "states": dict(campaign.states),
        "rate": campaign.rate,
        "kept_rate": round_figure(campaign.kept_rate),
        "expected_end": campaign.expected_end,
        "pause": None if campaign.pause is None else PauseView.of(campaign.pause),
        "is_failing": campaign.is_failing,
        "is_behind": campaign.is_behind,
    }
