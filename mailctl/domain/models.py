"""Frozen values that pass between modules: an email, where it stands, what became of an attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mailctl.domain.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: How texts for people say that an attempt may have delivered an email although nobody knows.
MAYBE_SENT = "the mail server may have it already"
#: A value that JSON can carry.
Json = Any


class State(StrEnum):
    """Where an email stands, in an operator's words."""

    PENDING = "pending"  #: in the log, not on the broker
    QUEUED = "queued"  #: published to the broker
    SENDING = "sending"  #: claimed by a worker
    SENT = "sent"  #: accepted by the mail server
    CAPTURED = "captured"  #: written to a file, because EMAIL_ENABLED=False
    DEFERRED = "deferred"  #: the mail server said "later"; waits for its next attempt
    FAILED = "failed"  #: refused for good, or out of attempts
    HELD = "held"  #: kept back until an operator releases it
    CANCELLED = "cancelled"  #: taken back before it went out
    EXPIRED = "expired"  #: its links died, or it lost its use, before it could go out
    SUPPRESSED = "suppressed"  #: a rule said that this must not be sent


#: Nothing more happens to an email in one of these by itself.
FINAL_STATES = frozenset(
    {State.SENT, State.CAPTURED, State.FAILED, State.CANCELLED, State.EXPIRED, State.SUPPRESSED}
)
#: Something may still become of an email in one of these.
UNFINISHED_STATES = frozenset(State) - FINAL_STATES
#: The email went where it should.
DELIVERED_STATES = frozenset({State.SENT, State.CAPTURED})
#: A worker that gets the message may claim the email.
CLAIMABLE_STATES = frozenset({State.PENDING, State.QUEUED, State.DEFERRED})

_STOPPED = frozenset({State.HELD, State.CANCELLED, State.EXPIRED, State.SUPPRESSED, State.FAILED})

#: Every change of state there is; anything else is a defect.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.QUEUED, State.SENDING}) | _STOPPED,
    State.QUEUED: frozenset({State.PENDING, State.SENDING}) | _STOPPED,
    State.SENDING: frozenset({State.SENT, State.CAPTURED, State.DEFERRED, State.PENDING}) | _STOPPED,
    State.DEFERRED: frozenset({State.PENDING, State.QUEUED, State.SENDING}) | _STOPPED,
    State.HELD: frozenset({State.PENDING, State.CANCELLED, State.EXPIRED}),
    State.FAILED: frozenset({State.PENDING}),
    State.CANCELLED: frozenset({State.PENDING}),
    State.EXPIRED: frozenset({State.PENDING}),
    State.SUPPRESSED: frozenset({State.PENDING}),
    State.SENT: frozenset(),
    State.CAPTURED: frozenset(),
}


def states_before(target: State) -> frozenset[State]:
    """Return the states from which an email may change to `target`."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)


@dataclass(frozen=True, kw_only=True)
class User:
    """A person of the service, as far as an email needs to know one."""

    email: str
    id: str | None = None
    username: str = ""
    first_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an email is made of: all that is needed to compose it, sealed while it rests.

    Links are not in here unless somebody else made them (`urls`): they are minted when the email goes out.
    """

    user: User
    #: Tokens that the service gave, by the name of the link that carries them.
    tokens: Mapping[str, str] = field(default_factory=dict)
    #: Links that came ready-made with a message from another program, by template variable.
    urls: Mapping[str, str] = field(default_factory=dict)
    #: Template variables of this one email.
    context: Mapping[str, Json] = field(default_factory=dict)
    #: For the generic kind: its subject and template.
    subject: str | None = None
    template: str | None = None
    #: The span in which it was recorded (W3C Trace Context); no part of what is sent.
    trace: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An email that is about to be recorded."""

    id: str
    kind: str
    content: Content
    queue: str
    created_at: datetime
    expires_at: datetime | None
    #: Not to be sent before this time.
    not_before: datetime | None = None
    idempotency_key: str | None = None
    #: Emails of one call share the id of the first.
    group_id: str | None = None
    #: What it is sent as a part of, with many others and behind everything else.
    campaign: str | None = None
    #: The operator who says that neither suppression nor limits keep it back.
    forced_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A row of a file, or a user, that cannot be used."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class SmtpReply:
    """What the mail server said: reply code (RFC 5321), enhanced status code (RFC 3463) and text."""

    code: int | None = None
    enhanced: str | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Email:
    """An email as the delivery log knows it; its id is the Celery task id."""

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
    #: For people; `reason_code` is the same for programs. Both are None, or neither is.
    error: str | None
    group_id: str | None
    campaign: str | None
    reason_code: ReasonCode | None = None
    #: The email that an operator made of this one.
    resent_as: str | None = None
    #: The file that it was written to instead of being sent.
    captured_file: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in FINAL_STATES

    @property
    def is_delivered(self) -> bool:
        """Whether it went where it should."""
        return self.state in DELIVERED_STATES

    @property
    def next_attempt_at(self) -> datetime | None:
        """When it is tried next, if it waits for a time."""
        return self.not_before if self.state in (State.PENDING, State.DEFERRED) else None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change in the life of an email."""

    at: datetime
    state: State
    attempt: int
    worker: str | None
    code: int | None
    text: str
    #: The operator who did it; None for what happened by itself.
    actor: str | None = None
    reason_code: ReasonCode | None = None
    #: The SMTP stage at which an attempt failed, as in `Outcome`; None where no mail server was asked.
    stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right of one worker to send an email, until the lease runs out."""

    id: str
    kind: str
    #: Attempts so far, this one included.
    attempts: int
    created_at: datetime
    expires_at: datetime | None
    worker: str
    #: Proves, when the outcome is recorded, that nobody else took the email meanwhile.
    token: str
    content: Content


@dataclass(frozen=True, kw_only=True)
class DeliveredClaim:
    """A claimed email that went where it should, and what is recorded of that."""

    claim: Claim
    state: State
    outcome: Outcome
    message_id: str


@dataclass(frozen=True, kw_only=True)
class CeleryResult:
    """What the result backend has for a task."""

    state: str
    text: str
    #: Whether a task of mailctl's own has stored it.
    is_from_mailctl: bool = False


class OutcomeKind(StrEnum):
    """What became of one attempt to hand an email to the mail server."""

    ACCEPTED = "accepted"  #: the server took responsibility (250 after the body)
    CAPTURED = "captured"  #: written to a file instead
    DEFERRED = "deferred"  #: certainly not accepted; try later
    BOUNCED = "bounced"  #: refused for good
    AMBIGUOUS = "ambiguous"  #: the body was handed over and no reply came
    FORBIDDEN = "forbidden"  #: a rule of this environment keeps it from going out
    CONFIG = "config"  #: our credentials, TLS or sender identity are wrong; not the recipient's fault


_REASON_CODES: Mapping[OutcomeKind, ReasonCode] = {
    OutcomeKind.DEFERRED: ReasonCode.DEFERRED,
    OutcomeKind.BOUNCED: ReasonCode.REFUSED,
    OutcomeKind.AMBIGUOUS: ReasonCode.NO_REPLY,
    OutcomeKind.FORBIDDEN: ReasonCode.NOT_ALLOWED,
    OutcomeKind.CONFIG: ReasonCode.CONFIGURATION,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one attempt."""

    kind: OutcomeKind
    reply: SmtpReply = SmtpReply()
    #: The SMTP stage that decided: connect, tls, auth, mail, rcpt, data, body.
    stage: str = ""
    #: The file that the message was written to instead of being sent.
    captured_file: str | None = None

    def __str__(self) -> str:
        reply = self.reply
        words = [str(part) for part in (reply.code, reply.enhanced, reply.text) if part]
        return " ".join(words) or self.captured_file or self.kind

    @property
    def text_with_stage(self) -> str:
        """What happened, and at which stage, for people."""
        return f"at {self.stage}: {self}" if self.stage else str(self)

    @property
    def reason_code(self) -> ReasonCode | None:
        """Why the email was not delivered; None if it was."""
        return _REASON_CODES.get(self.kind)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A finished message: who gets it is decided here and never read from a header (RFC 5321)."""

    sender: str
    recipient: str
    message_id: str
    #: The whole message, CRLF line ends, ready for DATA.
    data: bytes
    subject: str
    #: The action links in it, by template variable.
    links: Mapping[str, str] = field(default_factory=dict)
    #: Its plain-text part, to look at.
    text: str = ""
