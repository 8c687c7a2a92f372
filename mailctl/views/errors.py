"""Failures and deferrals in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.domain.reason_codes import ReasonCode
from mailctl.monitoring.errors import ErrorTrend
from mailctl.views.base import Count, Timestamp, View

if TYPE_CHECKING:
    from mailctl.monitoring.errors import ErrorGroup


class ErrorGroupView(View):
    """Failures and deferrals that have the same cause."""

    emails: Count = Field(description="Different emails with such an attempt.")
    attempts: Count = Field(description="Failed attempts.")
    waiting: Count = Field(description="Emails of these that will be tried again.")
    failed: Count = Field(description="Emails of these that failed, expired or bounced.")
    trend: ErrorTrend = Field(description="How the last quarter of the period compares with the rest.")
    first_at: Timestamp
    last_at: Timestamp
    cause: str = Field(description="The name of the cause, as in `mailctl why`.")
    explanation: str
    reason_code: ReasonCode | None
    stage: str | None = Field(description="The SMTP stage; null if no mail server was contacted.")
    code: int | None = Field(description="The SMTP reply code, such as 550.")
    enhanced: str | None = Field(description="The enhanced status code, such as 5.1.1.")
    domain: str | None = Field(
        description="The domain of all recipients; null if they have many, or it does not matter."
    )
    text: str = Field(description="The text of the latest one, with addresses masked.")
    kinds: list[str] = Field(description="The most frequent first.")
    sample_ids: list[str] = Field(description="Some of the emails, the latest first.")
    next_step: str = Field(description="The command that deals with the group.")

    @classmethod
    def of(cls, group: ErrorGroup) -> ErrorGroupView:
        """Return the view of a group."""
        fingerprint = group.fingerprint
        return cls(
            emails=group.emails,
            attempts=group.attempts,
            waiting=group.waiting,
            failed=group.failed,
            trend=group.trend,
            first_at=group.first_at,
            last_at=group.last_at,
            cause=group.cause.name,
            explanation=group.cause.sentence,
            reason_code=fingerprint.reason_code,
            stage=fingerprint.stage or None,
            code=fingerprint.code,
            enhanced=fingerprint.enhanced,
            domain=fingerprint.domain or None,
            text=group.text,
            kinds=list(group.kinds),
            sample_ids=list(group.sample_ids),
            next_step=str(group.command),
        )
