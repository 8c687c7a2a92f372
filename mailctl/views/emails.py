"""Emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.views.base import Timestamp, View

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.search import EmailPage
    from mailctl.domain.models import Email
    from mailctl.domain.outcomes import SmtpReply


class SmtpReplyView(View):
    """The last reply of the mail server."""

    code: int | None = Field(description="The SMTP reply code, such as 550.")
    enhanced: str | None = Field(description="The enhanced status code, such as 5.1.1.")
    text: str | None
    queue_id: str | None = Field(
        description="The id under which the mail server has queued the email, if its reply names it."
    )

    @classmethod
    def of(cls, reply: SmtpReply) -> SmtpReplyView:
        """Return the view of a reply."""
        return cls(code=reply.code, enhanced=reply.enhanced, text=reply.text or None, queue_id=reply.queue_id)


class EmailSummaryView(View):
    """An email as `mailctl send` prints it."""

    task_id: str = Field(description="The id of the email, which is also the id of its Celery task.")
    kind: str
    user_id: str | None
    to: str
    state: State
    queue: str
    campaign: str | None

    @classmethod
    def of(cls, email: Email) -> EmailSummaryView:
        """Return the summary of an email."""
        return cls(**_summary_fields(email))


class EmailView(EmailSummaryView):
    """An email as `mailctl list` prints it."""

    attempts: int
    created_at: Timestamp
    updated_at: Timestamp
    sent_at: Timestamp | None
    next_attempt_at: Timestamp | None
    expires_at: Timestamp | None
    worker: str | None = Field(description="The worker that made the last attempt.")
    server: str | None = Field(
        description="The mail server of the last attempt, `default` or its name; null if none was asked."
    )
    tenant: str | None = Field(description="The tenant of the service that the email belongs to.")
    message_id: str | None
    smtp: SmtpReplyView
    error: str | None = Field(description="Why the email is not sent.")
    reason_code: ReasonCode | None = Field(description="Why the email is not sent, as a code for programs.")
    captured_file: str | None = Field(
        description="The file that the email was written to instead of being sent."
    )

    @classmethod
    def of(cls, email: Email) -> EmailView:
        """Return the view of an email."""
        return cls(
            **_summary_fields(email),
            attempts=email.attempts,
            created_at=email.created_at,
            updated_at=email.updated_at,
            sent_at=email.sent_at,
            next_attempt_at=email.next_attempt_at,
            expires_at=email.expires_at,
            worker=email.worker,
            server=email.asked_server,
            tenant=email.tenant,
            message_id=email.message_id,
            smtp=SmtpReplyView.of(email.reply),
            error=email.error,
            reason_code=email.reason_code,
            captured_file=email.captured_file,
        )


class EmailPageView(View):
    """A page of emails."""

    emails: list[EmailView]
    next: str | None = Field(description="The value of `after` for the next page; null on the last page.")

    @classmethod
    def of(cls, page: EmailPage) -> EmailPageView:
        """Return the view of a page."""
        return cls(emails=[EmailView.of(email) for email in page.emails], next=page.cursor)


def _summary_fields(email: Email) -> dict[str, Any]:
    return {
        "task_id": email.id,
        "kind": email.kind,
        "user_id": email.user_id,
        "to": email.to,
        "state": email.state,
        "queue": email.queue,
        "campaign": email.campaign,
    }
