"""When a campaign pauses itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mailctl.domain.campaign_bounds import CampaignBounds, campaign_bounds_from_settings
from mailctl.settings import Settings

BOUNDS = CampaignBounds()


@pytest.mark.parametrize(
    ("accepted", "bounces", "complaints", "expected"),
    [
        (499, 499, 499, ""),
        (500, 24, 4, ""),
        (500, 25, 4, ""),
        (500, 26, 0, "26 of 500 accepted emails bounced permanently (5.2%; the limit is 5.0%)"),
        (10_000, 499, 29, ""),
        (1000, 0, 5, "5 of 1000 accepted emails were marked as spam (0.5%; the limit is 0.3%)"),
        (
            500,
            100,
            10,
            "100 of 500 accepted emails bounced permanently (20.0%; the limit is 5.0%) and "
            "10 of 500 accepted emails were marked as spam (2.0%; the limit is 0.3%)",
        ),
    ],
)
def test_a_campaign_pauses_past_a_bound(accepted: int, bounces: int, complaints: int, expected: str) -> None:
    """Never before there are enough emails, and enough bounces or complaints."""
    reason = BOUNDS.reason_to_pause(accepted=accepted, bounces=bounces, complaints=complaints)
    assert reason == expected


def test_the_bounds_are_settings() -> None:
    """100% never pauses a campaign; what is no share is refused when the process starts."""
    assert campaign_bounds_from_settings(Settings()) == BOUNDS
    never = campaign_bounds_from_settings(
        Settings(mailctl_campaign_max_bounced="100%", mailctl_campaign_max_complained="100%")
    )
    assert never.reason_to_pause(accepted=500, bounces=500, complaints=500) == ""
    for value in ("many", "101%", "5"):
        with pytest.raises(ValidationError):
            Settings(mailctl_campaign_max_bounced=value)
