"""The status of emails, and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.views.base import Timestamp, View
from mailctl.views.emails import EmailView, SmtpReplyView

if TYPE_CHECKING:
    from mailctl.delivery_log.reports import LoggedReport
    from mailctl.diagnosis.status import EmailStatus

_SMTP_STAGES = ("connect", "tls", "auth", "mail", "rcpt", "data", "body")


class EventView(View):
    """One change of the state of an email."""

    at: Timestamp
    state: State
    attempt: int
    worker: str | None
    code: int | None = Field(description="The SMTP reply code.")
    text: str
    actor: str | None = Field(description="The operator who caused the event; null if mailctl did.")
    reason_code: ReasonCode | None = Field(
        description="Why the state changed, as a code for programs; null for ordinary progress."
    )
    stage: str | None = Field(
        description="The SMTP stage at which an attempt failed.",
        json_schema_extra={"enum": [*_SMTP_STAGES, None]},
    )


class ReportView(View):
    """A report about an email after a mail server had accepted it."""

    kind: str = Field(description="delivered, delayed, bounced, complained or unsubscribed.")
    proof: str = Field(description="verified, or likely if nothing proves it and it changes no state.")
    source: str
    at: Timestamp | None = Field(description="When it happened, by the clock of the source.")
    received_at: Timestamp
    smtp: SmtpReplyView
    remote_server: str | None
    is_hard: bool = Field(description="Whether the mailbox is unreachable for good.")

    @classmethod
    def of(cls, report: LoggedReport) -> ReportView:
        """Return the view of a report."""
        return cls(
            kind=report.kind,
            proof=report.proof,
            source=report.source,
            at=report.at,
            received_at=report.received_at,
            smtp=SmtpReplyView.of(report.reply),
            remote_server=report.remote_server,
            is_hard=report.is_hard,
        )


class StatusView(View):
    """The status of one email; what is not known is null."""

    task_id: str
    kind: str | None = None
    user_id: str | None = None
    to: str | None = None
    state: State | None = Field(default=None, description="Null for a task that only Celery knows.")
    queue: str | None = None
    campaign: str | None = None
    attempts: int | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    sent_at: Timestamp | None = None
    next_attempt_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    worker: str | None = None
    server: str | None = None
    tenant: str | None = None
    message_id: str | None = None
    smtp: SmtpReplyView | None = None
    reason_code: ReasonCode | None = None
    captured_file: str | None = None
    celery_state: str | None = None
    error: str | None = None
    explanation: str = Field(description="Why the email is in this state, in one sentence.")
    events: list[EventView] = Field(default=[], description="Oldest first.")
    feedback: list[ReportView] = Field(
        default=[], description="What was reported after a mail server had accepted it, oldest first."
    )
    group: list[str] = Field(
        default=[], description="The ids of the other emails that the same call recorded."
    )
    email: EmailView | None = Field(
        default=None, description="The email; null for a task that only Celery knows."
    )

    @classmethod
    def of(cls, status: EmailStatus) -> StatusView:
        """Return the view of a status."""
        email = EmailView.of(status.email) if status.email else None
        celery = status.celery
        fields = {name: getattr(email, name) for name in EmailView.model_fields} if email else {}
        return cls(
            **fields
            | {
                "task_id": status.task_id,
                "state": status.state,
                "celery_state": celery.state if celery else None,
                "error": (email.error if email else None) or (celery.text if celery else None) or None,
                "explanation": status.explanation,
                "events": [EventView.model_validate(event) for event in status.events],
                "feedback": [ReportView.of(report) for report in status.reports],
                "group": [other.id for other in status.group],
                "email": email,
            }
        )

    @classmethod
    def of_unknown(cls, task_id: str, reason: str) -> StatusView:
        """Return the view of an id that matches no email, or several.

        Args:
            task_id: the id as the user gave it.
            reason: why there is no status, in one sentence.
        """
        return cls(task_id=task_id, error=reason, explanation=reason)
