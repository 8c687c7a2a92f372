"""What is refused is counted, and a flood of it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl import runtime
from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback.rejections import RejectionCounter
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_refusals_are_counted(tmp_path: Path) -> None:
    """Whatever comes in one second is one transaction; what is left is written when the process ends."""
    settings = Settings(MAILCTL_HOME=tmp_path)
    parts = runtime.Runtime(settings)
    counter = RejectionCounter(parts, interval=3600)
    parts.on_close(counter.flush)

    for _ in range(100):
        counter.add("postmark", FeedbackResult.FORGED)
    first = [(each.result, each.count) for each in parts.feedback_counts.read()]
    parts.close()

    reopened = runtime.Runtime(settings)
    last = [(each.result, each.count) for each in reopened.feedback_counts.read()]
    reopened.close()
    assert (first, last) == ([(FeedbackResult.FORGED, 1)], [(FeedbackResult.FORGED, 100)])
