"""What the endpoints for programs answer; the names are those of `--json`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from mailctl.diagnosis import Certainty
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.search import EmailPage
    from mailctl.diagnosis import Cause, Diagnosis
    from mailctl.diagnosis.status import EmailStatus
    from mailctl.domain.models import Email, SmtpReply


class ApiModel(BaseModel):
    """What an endpoint answers: `model_validate` takes a value of the library that has the same fields."""

    model_config = ConfigDict(from_attributes=True)


class SmtpModel(ApiModel):
    """What the mail server said."""

    code: int | None
    enhanced: str | None
    text: str | None

    @classmethod
    def of(cls, reply: SmtpReply) -> SmtpModel:
        """Return a reply for programs."""
        return cls(code=reply.code, enhanced=reply.enhanced, text=reply.text or None)


class EmailModel(ApiModel):
    """An email, as `mailctl list --json` has it."""

    task_id: str
    kind: str
    user_id: str | None
    to: str
    state: State
    queue: str
    campaign: str | None
    attempts: int
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None
    expires_at: datetime | None
    worker: str | None
    message_id: str | None
    smtp: SmtpModel
    error: str | None
    reason_code: ReasonCode | None = Field(description="Why it is not delivered, for programs.")
    captured_file: str | None = Field(description="The file that it was written to instead of being sent.")

    @classmethod
    def of(cls, email: Email) -> EmailModel:
        """Return an email for programs."""
        return cls(
            task_id=email.id,
            kind=email.kind,
            user_id=email.user_id,
            to=email.to,
            state=email.state,
            queue=email.queue,
            campaign=email.campaign,
            attempts=email.attempts,
            created_at=email.created_at,
            updated_at=email.updated_at,
            sent_at=email.sent_at,
            next_attempt_at=email.next_attempt_at,
            expires_at=email.expires_at,
            worker=email.worker,
            message_id=email.message_id,
            smtp=SmtpModel.of(email.reply),
            error=email.error,
            reason_code=email.reason_code,
            captured_file=email.captured_file,
        )


class EventModel(ApiModel):
    """One step in the life of an email."""

    at: datetime
    state: State
    attempt: int
    worker: str | None
    code: int | None
    text: str
    actor: str | None = Field(description="The operator who did it; null for what happened by itself.")
    reason_code: ReasonCode | None = Field(description="Why, for programs; null for ordinary progress.")
    stage: str | None = Field(description="The SMTP stage at which an attempt failed.")


class StatusModel(ApiModel):
    """What became of one task, as `mailctl status --json` has it."""

    task_id: str
    state: State | None = Field(description="Null for a task that only Celery knows.")
    email: EmailModel | None
    celery_state: str | None
    explanation: str = Field(description="Why it is where it is, in one sentence.")
    events: list[EventModel]
    group: list[str] = Field(description="The ids of the other emails of the same call.")

    @classmethod
    def of(cls, status: EmailStatus) -> StatusModel:
        """Return a status for programs."""
        return cls(
            task_id=status.task_id,
            state=status.state,
            email=EmailModel.of(status.email) if status.email else None,
            celery_state=status.celery.state if status.celery else None,
            explanation=status.explanation,
            events=[EventModel.model_validate(event) for event in status.events],
            group=[other.id for other in status.group],
        )


class EmailsModel(ApiModel):
    """A page of emails."""

    emails: list[EmailModel]
    next: str | None = Field(description="What to give as `after` for the next page; null on the last.")

    @classmethod
    def of(cls, page: EmailPage) -> EmailsModel:
        """Return a page for programs."""
        return cls(emails=[EmailModel.of(email) for email in page.emails], next=page.cursor)


class CauseModel(ApiModel):
    """One reason why an email is where it is."""

    cause: str = Field(description="For programs; the README lists them.")
    sentence: str
    next_step: str | None = Field(description="A command; null where there is nothing to do.")
    certainty: Certainty

    @classmethod
    def of(cls, cause: Cause) -> CauseModel:
        """Return a cause for programs."""
        return cls(
            cause=cause.name,
            sentence=cause.sentence,
            next_step=str(cause.next_step) if cause.next_step else None,
            certainty=cause.certainty,
        )


class DiagnosisModel(ApiModel):
    """Why an email is where it is, as `mailctl why --json` has it; the most likely cause first."""

    task_id: str
    state: State | None
    causes: list[CauseModel]

    @classmethod
    def of(cls, found: Diagnosis) -> DiagnosisModel:
        """Return a diagnosis for programs."""
        causes = [CauseModel.of(cause) for cause in found.causes]
        return cls(task_id=found.task_id, state=found.state, causes=causes)


class HealthModel(ApiModel):
    """Whether something works."""

    status: str
