"""What follows from feedback by itself never stops the relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.campaign_guard import PausedCampaign
from mailctl.delivery_log.reports import RecordedReports
from mailctl.errors import LogUnavailable
from mailctl.worker.feedback_follow_up import FeedbackFollowUp
from tests.unit.worker.fakes import Calls, parts

if TYPE_CHECKING:
    from collections.abc import Sequence


def follow_up(*, settled: Any = None, paused: Sequence[PausedCampaign] = ()) -> FeedbackFollowUp:
    """Return what follows feedback up, with these answers of the log."""
    answer = [RecordedReports()] * 3 if settled is None else settled
    return FeedbackFollowUp(
        parts(feedback_reports=Calls(settle=answer), campaign_guard=Calls(pause_failing=paused))
    )


def test_a_campaign_that_is_paused_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """With the reason: nobody asked for it."""
    follow_up(paused=(PausedCampaign(name="spring", reason="26 of 500 bounced"),)).check()
    assert caplog.messages == ["campaign 'spring' is paused: 26 of 500 bounced"]


def test_an_unexpected_error_is_said_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    """The relay comes every second, and publishes emails all the same."""
    checks = follow_up(settled=[ValueError("a"), ValueError("a"), RecordedReports(), ValueError("a")])
    for _ in range(4):
        checks.check()
    assert len(caplog.messages) == 2
    assert all(message.startswith("feedback cannot be followed up (") for message in caplog.messages)


def test_an_outage_of_the_log_is_the_relays_affair() -> None:
    """It distrusts leases then."""
    with pytest.raises(LogUnavailable):
        follow_up(settled=LogUnavailable("the log does not answer.")).check()
