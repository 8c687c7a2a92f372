"""Feedback on both databases: once, however many processes hear of it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mailctl.delivery_log.feedback_counts import FeedbackCounts
from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.reports import FeedbackResult, Report
from mailctl.delivery_log.suppressions import Suppressions
from mailctl.domain.models import SentClaim, State
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply

if TYPE_CHECKING:
    from tests.integration.delivery_log.conftest import Log

SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="queued"), stage="body")


def test_processes_that_hear_the_same_record_it_once(log: Log) -> None:
    """Eight at a time, each with all reports in another order; none waits for another for ever."""
    claims = [claim for _ in range(8) if (claim := log.claim(log.queue(), worker="w")) is not None]
    log.results.finish_sent(
        [
            SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id=f"<{claim.id}@example.org>")
            for claim in claims
        ]
    )
    all_reports = [
        Report(
            source="ses",
            source_id=f"{claim.id}/{kind}",
            kind=kind,
            is_proven=True,
            summary=kind,
            email_id=claim.id,
            is_hard=kind == "bounced",
        )
        for claim in claims
        for kind in ("delivered", "bounced", "complained")
    ]

    def record(number: int) -> int:
        reports = FeedbackReports(log.engine)
        turned = all_reports[number * 3 :] + all_reports[: number * 3]
        return reports.record(turned).counts[FeedbackResult.RECORDED]

    with ThreadPoolExecutor(8) as processes:
        recorded = sum(processes.map(record, range(8)))
    assert recorded == len(all_reports)
    assert {log.history.find(claim.id)[0].state for claim in claims} == {State.COMPLAINED}
    counts = {each.result: each.count for each in FeedbackCounts(log.engine).read()}
    assert counts == {FeedbackResult.RECORDED: 24, FeedbackResult.REPEATED: 7 * 24}
    address = log.history.find(claims[0].id)[0].to
    entry = Suppressions(log.engine).find(address)
    assert entry is not None
    assert entry.scope == "all"
