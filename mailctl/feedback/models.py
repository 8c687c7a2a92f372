"""Feedback as values: what a source reports of one email, whatever the source is."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FeedbackKind(StrEnum):
    """The kind of a report about an email that a mail server had accepted."""

    DELIVERED = "delivered"
    """The recipient's mail server has it (RFC 3464, action ``delivered``)."""

    DELAYED = "delayed"
    """Not delivered yet; the reporting server keeps trying (RFC 3464, action ``delayed``)."""

    RELAYED = "relayed"
    """Passed on to a server that reports no delivery, only failures (RFC 3464, action ``relayed``)."""

    BOUNCED = "bounced"
    """Given up: not delivered, and not tried again (RFC 3464, action ``failed``)."""

    COMPLAINED = "complained"
    """The recipient marked it as spam (RFC 5965)."""

    UNSUBSCRIBED = "unsubscribed"
    """The recipient wants no more of its kind or campaign (RFC 8058)."""


class Proof(StrEnum):
    """How well a report is known to concern one email, and to be true."""

    VERIFIED = "verified"
    """A signed token of ours, or a verified signature or secret of a provider: states change."""

    LIKELY = "likely"
    """Matched by values that are no secret, such as a Message-ID: recorded as an event, changes no state."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report about one recipient of one email.

    Args:
        source: Where it comes from: ``dsn``, ``arf``, ``ses``, ``postmark``, ``postfix-log`` and so on.
        source_id: What identifies the report at its source; a report with the same pair is a repetition.
        kind: What is reported.
        proof: How well that is known.
        at: When it happened by the source's clock, aware, UTC; None where the source does not tell.
        email_id: The email's id, where a token or a header of ours tells it.
        message_id: The Message-ID without angle brackets, where no id is known.
        recipient: The address reported about, as the source writes it.
        smtp_code: Three-digit reply code of the remote server (RFC 5321).
        enhanced_code: Enhanced status code such as ``5.1.1`` (RFC 3463).
        diagnostic: Text of the remote server or of the source; from strangers.
        remote_server: Host name or address of the server that said so.
        is_permanent: For a bounce, whether the source itself calls it permanent (a hard bounce); None where
            it does not tell.
    """

    source: str
    source_id: str
    kind: FeedbackKind
    proof: Proof
    at: datetime | None = None
    email_id: str | None = None
    message_id: str | None = None
    recipient: str | None = None
    smtp_code: int | None = None
    enhanced_code: str | None = None
    diagnostic: str = ""
    remote_server: str | None = None
    is_permanent: bool | None = None
