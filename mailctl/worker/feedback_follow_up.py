"""What follows from feedback by itself: reports that waited are applied, and failing campaigns paused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.feedback import settle

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")


class FeedbackFollowUp:
    """The part of the relay that follows feedback up.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def check(self) -> None:
        """Apply reports whose emails are recorded as sent by now, and pause campaigns that passed a bound.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        settle(self._runtime)
        for campaign in self._runtime.campaign_guard.pause_failing():
            _log.error("campaign %r is paused: %s", campaign.name, campaign.reason)
