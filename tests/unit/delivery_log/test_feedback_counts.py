"""How often each source of feedback was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.feedback_counts import FeedbackCounts
from mailctl.delivery_log.reports import FeedbackResult

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_what_is_no_report_is_counted(log: Log) -> None:
    """By source and result, with the time of the last."""
    counts = FeedbackCounts(log.engine, clock=log.time)
    counts.add("dsn", FeedbackResult.FORGED)
    log.forward(60)
    counts.add("dsn", FeedbackResult.FORGED, 2)
    counts.add("arf", FeedbackResult.MALFORMED)
    assert [(each.source, each.result, each.count, each.last_at) for each in counts.read()] == [
        ("arf", FeedbackResult.MALFORMED, 1, log.now),
        ("dsn", FeedbackResult.FORGED, 3, log.now),
    ]
