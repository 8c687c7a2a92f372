"""When a campaign pauses itself: too many of its addresses are dead, or too many recipients complain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.timefmt import parse_share

if TYPE_CHECKING:
    from mailctl.settings import Settings

#: Fewer emails, bounces or complaints say nothing about a campaign.
MIN_ACCEPTED, MIN_BOUNCES, MIN_COMPLAINTS = 500, 25, 5


@dataclass(frozen=True, kw_only=True)
class CampaignBounds:
    """The shares that the feedback about a campaign may reach.

    Args:
        max_bounced: the highest share of hard bounces in the accepted emails, from 0 to 1.
        max_complained: the highest share of complaints in them, from 0 to 1.
    """

    max_bounced: float = 0.05
    max_complained: float = 0.003

    def reason_to_pause(self, *, accepted: int, bounces: int, complaints: int) -> str:
        """Return why a campaign has to be paused, as a clause; "" if it may continue.

        Args:
            accepted: how many of its emails a mail server has accepted.
            bounces: how many of them bounced because their mailbox does not exist.
            complaints: how many of them were marked as spam.
        """
        if accepted < MIN_ACCEPTED:
            return ""
        found = []
        if bounces >= MIN_BOUNCES and bounces / accepted > self.max_bounced:
            found.append(_clause(bounces, accepted, "bounced permanently", self.max_bounced))
        if complaints >= MIN_COMPLAINTS and complaints / accepted > self.max_complained:
            found.append(_clause(complaints, accepted, "were marked as spam", self.max_complained))
        return " and ".join(found)


def _clause(count: int, accepted: int, what: str, limit: float) -> str:
    return f"{count} of {accepted} accepted emails {what} ({count / accepted:.1%}; the limit is {limit:.1%})"


def campaign_bounds_from_settings(settings: Settings) -> CampaignBounds:
    """Return the bounds of the settings.

    Raises:
        InvalidInput: MAILCTL_CAMPAIGN_MAX_BOUNCED or MAILCTL_CAMPAIGN_MAX_COMPLAINED is no share.
    """
    return CampaignBounds(
        max_bounced=parse_share(settings.mailctl_campaign_max_bounced, field="MAILCTL_CAMPAIGN_MAX_BOUNCED"),
        max_complained=parse_share(
            settings.mailctl_campaign_max_complained, field="MAILCTL_CAMPAIGN_MAX_COMPLAINED"
        ),
    )
