"""Changing the rate of a campaign, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import NotFound
from mailctl.operations.known_names import check_campaign

if TYPE_CHECKING:
    from mailctl.runtime import Runtime


def change_rate(runtime: Runtime, campaign: str, rate: float | None) -> float | None:
    """Change the rate of a campaign for all workers at once, and return the one before.

    Args:
        runtime: the components of this process.
        campaign: the name of the campaign.
        rate: emails a second of all workers together; None for no limit.

    Raises:
        NotFound: the campaign is unknown, or its emails were recorded without a rate that can be changed.
        LogUnavailable: the delivery log cannot be written.
    """
    before = runtime.campaigns.find_rate(campaign)
    if before is None:
        check_campaign(runtime, campaign)
        raise NotFound(f"Campaign {campaign!r} is only a label of single emails, and has no rate.")
    runtime.campaigns.set_rate(campaign, rate)
    return before[0]
