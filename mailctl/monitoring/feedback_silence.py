"""Whether feedback is heard: emails go out, and nothing comes back, not even one bounce."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import UNSUBSCRIBE_SOURCE
from mailctl.errors import ExitCode, MailctlError
from mailctl.monitoring.hops import Hop, failed_hop
from mailctl.process.deadlines import call_with_deadline
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mailctl.delivery_log.feedback_counts import FeedbackCount
    from mailctl.runtime import Runtime

#: Of so many accepted emails, some bounce or are reported as delivered, whoever gets them.
SILENT_EMAILS = 1000
#: Feedback may take that long; what was accepted before any was heard counts from then on.
_PATIENCE, _LONGEST = timedelta(hours=24), timedelta(days=7)
_FIX = "Send an email to an address that does not exist; its bounce should reach `mailctl feedback`."

_FIX_REFUSED = "Check that MAILCTL_WEBHOOK_SECRETS and SECRET_KEY are those with which feedback is signed."


def feedback_hops(runtime: Runtime) -> Iterator[Hop]:
    """Check that feedback is heard, where it is expected: with a bounce address, or if it ever was heard.

    Raises nothing: a delivery log that does not answer makes a failed hop.
    """
    try:
        yield from call_with_deadline(lambda: list(_check(runtime)), service="The delivery log")
    except MailctlError as error:
        yield failed_hop("feedback", error)


def _check(runtime: Runtime) -> Iterator[Hop]:
    # A recipient who unsubscribes does not show that bounces and complaints come back.
    counts = [each for each in runtime.feedback_counts.read() if each.source != UNSUBSCRIBE_SOURCE]
    heard_at = max((each.last_at for each in counts if each.is_heard), default=None)
    if not counts and not runtime.settings.mailctl_bounce_address:
        return
    now = runtime.clock()
    since = max(heard_at or now - _LONGEST, now - _LONGEST)
    accepted = runtime.feedback_counts.accepted_since(since, until=now - _PATIENCE, limit=SILENT_EMAILS)
    refused = [each for each in counts if each.is_refused and each.last_at > since]
    yield _hop(heard_at, is_silent=accepted >= SILENT_EMAILS, refused=refused)


def _hop(heard_at: datetime | None, *, is_silent: bool, refused: Sequence[FeedbackCount]) -> Hop:
    last = f"last heard from at {format_time(heard_at, TimeStyle.MINUTE)}" if heard_at else "never heard from"
    if not is_silent:
        return Hop(name="feedback", ok=True, detail=last)
    detail = f"{last}, although {SILENT_EMAILS} or more emails were accepted more than 24 h ago"
    if refused:
        named = ", ".join(f"{each.source} ({each.result})" for each in refused)
        detail += f"; refused since then: {named}"
    fix = _FIX_REFUSED if refused else _FIX
    return Hop(name="feedback", ok=False, detail=detail, fix=fix, exit_code=ExitCode.FAILED)
