"""Outcomes of attempts to hand an email to a mail server, and the server's replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.queue_ids import find_queue_id
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import DEFAULT_SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class SmtpReply:
    """A reply of the mail server: reply code (RFC 5321), enhanced status code (RFC 3463) and text."""

    code: int | None = None
    enhanced: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.code, self.enhanced, self.text) if part)

    @property
    def queue_id(self) -> str | None:
        """The id under which the mail server has queued the email; None if the reply does not name it."""
        is_positive = self.code is not None and 200 <= self.code < 300
        return find_queue_id(self.text) if is_positive else None


class ReplyCategory(StrEnum):
    """The subject of a negative reply of a mail server."""

    # The recipient.
    DEAD_MAILBOX = "dead-mailbox"  #: the mailbox does not exist, is disabled, or its domain accepts no email
    RECIPIENT = "recipient"  #: the recipient, for another reason, such as a full mailbox
    # Ours: no email can be sent until we change something.
    SENDER = "sender"  #: EMAIL_FROM_ADDRESS, or our right to use it
    CREDENTIALS = "credentials"  #: sign-in
    ENCRYPTION = "encryption"  #: the server requires TLS
    CLIENT_CERTIFICATE = "client-certificate"  #: the certificate by which this host identifies itself
    HELO = "helo"  #: the name by which this host introduces itself
    RELAY = "relay"  #: our right to send to other domains through this server
    ACCOUNT = "account"  #: our account there is suspended, restricted, or in a sandbox
    REPUTATION = "reputation"  #: our host or domain: block lists, its reverse name, SPF, DKIM, DMARC
    # Ours, for a time.
    QUOTA = "quota"  #: how much our account may send in a day or an hour is used up
    RATE = "rate"  #: we send too fast
    CONNECTIONS = "connections"  #: we have too many sessions
    GREYLISTING = "greylisting"  #: the server wants a first email from us to be tried again later
    # Others.
    CONTENT = "content"  #: the message: spam, a virus, its size or form
    SERVER = "server"  #: the mail server has a problem of its own
    POLICY = "policy"  #: security or policy, without saying more
    OTHER = "other"


#: What only we can correct: such a refusal concerns every email, and none may fail by it.
OUR_FAULTS = frozenset(
    {
        ReplyCategory.SENDER,
        ReplyCategory.CREDENTIALS,
        ReplyCategory.ENCRYPTION,
        ReplyCategory.CLIENT_CERTIFICATE,
        ReplyCategory.HELO,
        ReplyCategory.RELAY,
        ReplyCategory.ACCOUNT,
        ReplyCategory.REPUTATION,
        ReplyCategory.QUOTA,
    }
)
#: Categories that leave open whose fault a refusal is.
OPEN_CATEGORIES = frozenset({ReplyCategory.POLICY, ReplyCategory.OTHER})


class OutcomeKind(StrEnum):
    """The result of one attempt to hand an email to the mail server, by its consequence."""

    ACCEPTED = "accepted"  #: the server took responsibility (250 after the body)
    CAPTURED = "captured"  #: written to a file instead
    DEFERRED = "deferred"  #: not accepted; to be tried again
    INTERRUPTED = "interrupted"  #: ended before the server had the message; to be tried again
    REFUSED = "refused"  #: refused permanently
    AMBIGUOUS = "ambiguous"  #: the body was sent and no reply came
    FORBIDDEN = "forbidden"  #: the recipient policy of this environment forbids it
    CONFIG = "config"  #: credentials, TLS or sender identity are wrong; it does not count as an attempt


_REASON_CODES: Mapping[OutcomeKind, ReasonCode] = {
    OutcomeKind.DEFERRED: ReasonCode.DEFERRED,
    OutcomeKind.INTERRUPTED: ReasonCode.INTERRUPTED,
    OutcomeKind.REFUSED: ReasonCode.REFUSED,
    OutcomeKind.AMBIGUOUS: ReasonCode.NO_REPLY,
    OutcomeKind.FORBIDDEN: ReasonCode.NOT_ALLOWED,
    OutcomeKind.CONFIG: ReasonCode.CONFIGURATION,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one attempt."""

    kind: OutcomeKind
    reply: SmtpReply = SmtpReply()
    #: The SMTP stage that decided: connect, tls, auth, mail, rcpt, data or body; "" if there was no session.
    stage: str = ""
    #: The file that the message was written to instead of being sent.
    captured_file: str | None = None
    #: What the reply is about, if it is a negative one (`mailctl.smtp.classify`).
    category: ReplyCategory | None = None
    #: The name of the mail server that was asked.
    server: str = DEFAULT_SERVER
    #: Seconds until another attempt of a message that has waited in vain for its turn; None if the back-off
    #: decides.
    retry_after_seconds: float | None = None
    #: When the attempt ended, in seconds of `boottime`: it may be recorded much later. None if not known.
    ended_at: float | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.reply) or self.captured_file or self.kind

    @property
    def text_with_stage(self) -> str:
        """The outcome as text, with the stage of a reply; without a reply, our own text names the stage."""
        return f"at {self.stage}: {self}" if self.has_staged_reply else str(self)

    def text_after(self, word: str) -> str:
        """Return what happened to the email, such as "refused at rcpt: 550 no" or "timed out at body"."""
        return f"{word} {self.text_with_stage}" if self.has_staged_reply else str(self)

    @property
    def has_staged_reply(self) -> bool:
        """Whether a mail server replied, and at which stage is known."""
        return bool(self.stage) and self.reply.code is not None

    @property
    def _is_throttled(self) -> bool:
        """Whether no mail server was contacted, because a rate or all allowed sessions are used up."""
        if self.category is ReplyCategory.CONNECTIONS:
            return self.reply.code is None
        return self.category is ReplyCategory.RATE and not self.stage

    @property
    def reason_code(self) -> ReasonCode | None:
        """Why the email was not sent; None if it was sent or captured."""
        if self.kind is OutcomeKind.DEFERRED and self._is_throttled:
            return ReasonCode.SEND_RATE
        return _REASON_CODES.get(self.kind)
