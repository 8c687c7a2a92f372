"""The views of feedback that commands have taken."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.feedback.recording import FeedbackReceipt
from mailctl.views.base import Count, View

if TYPE_CHECKING:
    from mailctl.delivery_log.reports import FeedbackResult


class WatchView(View):
    """The messages that `mailctl feedback watch --once` has taken."""

    taken: Count = Field(description="Messages that were read; a message without a report changes nothing.")


class IngestView(View):
    """The reports that `mailctl feedback ingest` or `mailctl feedback tail-log --once` has taken."""

    recorded: Count = Field(description="Reports that are new and proven.")
    repeated: Count = Field(description="Reports that were known already.")
    unmatched: Count = Field(description="Reports about no email of this delivery log.")
    likely: Count = Field(description="Reports that nothing proves: they are noted, and change nothing.")
    rejected: str | None = Field(description="Why the message has no report; null if it has one.")

    @classmethod
    def of(cls, result: FeedbackReceipt | FeedbackResult) -> IngestView:
        """Return the view of what became of a message."""
        if isinstance(result, FeedbackReceipt):
            return cls.model_validate(asdict(result) | {"rejected": None})
        return cls(recorded=0, repeated=0, unmatched=0, likely=0, rejected=str(result))
