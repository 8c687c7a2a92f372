"""The results of campaigns."""

from __future__ import annotations

from pydantic import Field

from mailctl.views.base import Count, View


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
