"""Follows up feedback: applies reports that waited, and pauses failing campaigns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.errors import MailctlError
from mailctl.feedback import settle
from mailctl.worker.restarts import describe_failure

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
        #: What failed last; "" if nothing has.
        self._failure = ""

    def check(self) -> None:
        """Apply reports whose emails are recorded as sent by now, and pause campaigns that passed a bound.

        An unexpected error is logged when it first occurs: it must not stop the relay, and so all emails.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        failure = ""
        try:
            self._check()
        except MailctlError:
            raise
        except Exception as error:
            failure = describe_failure(error)
        if failure and failure != self._failure:
            _log.error("feedback cannot be followed up (%s)", failure)
        self._failure = failure

    def _check(self) -> None:
        settle(self._runtime)
        for campaign in self._runtime.campaign_guard.pause_failing():
            _log.error("campaign %r is paused: %s", campaign.name, campaign.reason)
