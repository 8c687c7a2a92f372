"""Frozen values that pass between modules: emails, their events, claims and messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mailctl.domain.routing import DEFAULT_SERVER, RoutedEmail, ServerPlan
from mailctl.domain.states import FINAL_STATES, SENT_OR_CAPTURED, State
from mailctl.settings import GROUPS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mailctl.domain.lease import Lease
    from mailctl.domain.outcomes import Outcome, SmtpReply
    from mailctl.domain.reason_codes import ReasonCode
    from mailctl.domain.request import EmailRequest

#: How texts for operators say that the mail server may have accepted an email although it gave no answer.
MAYBE_SENT = "the mail server may have it already"
#: A value that JSON can carry.
Json = Any
_Model = TypeVar("_Model")


def copy_with(model: _Model, **changes: object) -> _Model:
    """Return a copy of one of these values with other fields, for code that runs for every email.

    `dataclasses.replace` calls `__init__`, which takes several times as long, and does the same.
    """
    copied = object.__new__(type(model))
    vars(copied).update(vars(model), **changes)
    return copied


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of the service, with the fields that an email needs."""

    email: str
    id: str | None = None
    username: str = ""
    first_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of one email: everything needed to compose it, stored encrypted.

    Links are created when the email is sent; only links that the caller made itself are stored here (`urls`).
    """

    user: User
    #: The service's own tokens, by the `token` of the link that carries them.
    tokens: Mapping[str, str] = field(default_factory=dict)
    #: Links that came with a message of another program, by template variable.
    urls: Mapping[str, str] = field(default_factory=dict)
    #: Template variables of this email.
    context: Mapping[str, Json] = field(default_factory=dict)
    #: Subject and template, for the generic kind.
    subject: str | None = None
    template: str | None = None
    #: The arguments of a message that did not pass validation; only the recipient is known of it.
    unvalidated: Mapping[str, Json] = field(default_factory=dict)
    #: The span in which the email was recorded (W3C Trace Context).
    trace: Mapping[str, str] = field(default_factory=dict)
    #: The call of the service's own task that sends this email: `task`, `args` and `kwargs`; empty for
    #: emails that mailctl composes.
    call: Mapping[str, Json] = field(default_factory=dict)
    #: The name of the sender that the caller asked for, and of the tenant that the email belongs to; "" for
    #: none.
    sender: str = ""
    tenant: str = ""

    @property
    def own_task(self) -> str | None:
        """The name of the service's own task that sends this email; None if mailctl composes it."""
        return self.call.get("task")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An email that is about to be recorded: a request, applied to one recipient."""

    id: str
    request: EmailRequest
    content: Content
    queue: str
    created_at: datetime
    expires_at: datetime
    #: Emails of one call share the id of the first.
    group_id: str | None = None

    @property
    def kind(self) -> str:
        """The name of its kind."""
        return self.request.kind.name


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A row of a file, or a user record, that cannot be used."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Email:
    """An email as the delivery log has it; its id is the Celery task id."""

    id: str
    kind: str
    state: State
    queue: str
    to: str
    user_id: str | None
    attempts: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    not_before: datetime | None
    queued_at: datetime | None
    sent_at: datetime | None
    expires_at: datetime | None
    lease_until: datetime | None
    worker: str | None
    message_id: str | None
    reply: SmtpReply
    #: The reason in words, for operators; None exactly if `reason_code` is.
    error: str | None
    group_id: str | None
    campaign: str | None
    reason_code: ReasonCode | None = None
    #: The id of the email that an operator created by resending this one.
    resent_as: str | None = None
    #: The file that it was written to instead of being sent.
    captured_file: str | None = None
    #: Whether a task that the service itself defines sends it, which does not ask the delivery log.
    is_own_task: bool = False
    #: Whether its recipient may unsubscribe from such emails.
    can_unsubscribe: bool = False
    #: The mail server of the last attempt; None for the default one, or if there was no attempt.
    server: str | None = None
    #: The tenant of the service that it belongs to.
    tenant: str | None = None
    #: Whether, while it is queued, it is in the message of a group.
    is_grouped: bool = False
    #: Whether its message carries the whole email, so that a worker without this log can send it.
    is_in_full: bool = False
    #: Whether a mail server may have accepted it in an attempt that ended without its answer.
    maybe_sent: bool = False

    @property
    def routed(self) -> RoutedEmail:
        """The facts by which a mail server is chosen."""
        return RoutedEmail(
            kind=self.kind, queue=self.queue, recipient=self.to, campaign=self.campaign, tenant=self.tenant
        )

    @property
    def asked_server(self) -> str | None:
        """The name of the mail server of the last attempt; None if mailctl has asked none."""
        has_asked = self.worker is not None and not self.is_own_task and self.captured_file is None
        return (self.server or DEFAULT_SERVER) if has_asked else None

    @property
    def message_queue(self) -> str:
        """The queue on the broker that its message is in."""
        return GROUPS_QUEUE if self.is_grouped else self.queue

    @property
    def is_final(self) -> bool:
        """Whether only an operator can change its state."""
        return self.state in FINAL_STATES

    @property
    def is_sent_or_captured(self) -> bool:
        """Whether a mail server accepted it, or it was written to a file instead."""
        return self.state in SENT_OR_CAPTURED

    @property
    def has_ended_unsent(self) -> bool:
        """Whether it is known to be finished without having been sent or captured."""
        return self.is_final and not self.is_sent_or_captured and self.state is not State.UNCONFIRMED

    @property
    def scheduled_for(self) -> datetime | None:
        """The time for which it is scheduled; None if it is not, or if something else has delayed it."""
        is_untried = self.state is State.PENDING and not self.attempts and self.reason_code is None
        return self.not_before if is_untried else None

    @property
    def next_attempt_at(self) -> datetime | None:
        """The time of the next attempt; None unless the email waits for one."""
        return self.not_before if self.state in (State.PENDING, State.DEFERRED) else None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of state in the history of an email."""

    at: datetime
    state: State
    attempt: int
    worker: str | None
    code: int | None
    text: str
    #: The operator who caused it; None if mailctl did.
    actor: str | None = None
    reason_code: ReasonCode | None = None
    #: The SMTP stage at which an attempt failed, as in `Outcome`; None if there was no session.
    stage: str | None = None

    @property
    def summary(self) -> str:
        """A sentence about the event, with who did it: the operator, or the worker that claimed the email."""
        worker = f"by {self.worker}" if self.worker and self.state is State.SENDING else ""
        return " ".join(filter(None, (self.text, f"(by {self.actor})" if self.actor else worker)))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right of one worker to send an email until the lease expires."""

    id: str
    kind: str
    #: The number of attempts, this one included.
    attempts: int
    created_at: datetime
    expires_at: datetime | None
    worker: str
    #: Proves, when the outcome is recorded, that no other worker has claimed the email since.
    token: str
    content: Content
    #: How long the claim holds, as far as this process can know.
    lease: Lease = field(compare=False, repr=False)
    #: Whether its recipient may unsubscribe from such emails.
    can_unsubscribe: bool = False
    #: By which mail server it goes.
    plan: ServerPlan = field(default_factory=ServerPlan)


@dataclass(frozen=True, kw_only=True)
class SentClaim:
    """A claimed email that was sent or captured, and what is recorded about it."""

    claim: Claim
    state: State
    outcome: Outcome
    message_id: str


@dataclass(frozen=True, kw_only=True)
class Deferral:
    """A claimed email that has to be tried again, and what is recorded about it."""

    claim: Claim
    #: It is not tried before this time.
    until: datetime
    outcome: Outcome
    #: Whether the attempt used up one of the email's attempts.
    counts_as_attempt: bool = True
    #: The Message-ID of the message; None if none was composed.
    message_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class CeleryResult:
    """The result of a task in the Celery result backend."""

    state: str
    text: str
    #: Whether one of mailctl's own tasks stored it.
    is_from_mailctl: bool = False
    #: The value that a successful task returned.
    value: Json = None
    #: The name of the class of the exception of a failed task; "" if it is not known.
    error_type: str = ""
    #: Whether a revoked task was terminated while it ran; any other one was revoked before.
    is_terminated: bool = False
    #: When the task finished; None if that is not stored.
    finished_at: datetime | None = None
    #: The name of the task; "" if the app does not store it (`result_extended`).
    task: str = ""


@dataclass(eq=False, kw_only=True)
class Handover:
    """Notes how far an attempt has come, for the case that it is interrupted."""

    #: Whether the mail server may have the body.
    has_begun: bool = False


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A composed message; sender and recipient are decided here, never by a header (RFC 5321)."""

    #: Where a mail server returns what it cannot deliver.
    sender: str
    recipient: str
    message_id: str
    #: The complete, verified message with CRLF line ends.
    data: bytes
    subject: str
    #: The name of the mail server that it goes to.
    server: str = DEFAULT_SERVER
    #: The action links in the message, by template variable.
    links: Mapping[str, str] = field(default_factory=dict)
    #: The plain-text part.
    text: str = ""
    #: The address in From; "" for that of the sender.
    from_address: str = ""
    #: By this, reports about the delivery prove that they concern it; "" if none are asked for (RFC 3461).
    bounce_token: str = ""
    #: When reports are asked for, such as FAILURE,DELAY; "" if none are.
    notify: str = ""
    #: Whether it belongs to a campaign, which leaves a session to other email.
    is_of_campaign: bool = False
    #: Noted by the session that sends it.
    handover: Handover = field(default_factory=Handover, repr=False, compare=False)
