"""Reports about accepted emails, as the delivery log takes and returns them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.states import FEEDBACK_STATES, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_NO_REPLY = SmtpReply()
#: How reports are marked that a signature proves, and those that nothing proves.
PROVEN, UNPROVEN = "verified", "likely"
#: The source of what recipients do by the link in an email.
UNSUBSCRIBE_SOURCE = "unsubscribe"
#: The state that a report leads to, by what it says.
_TARGETS: Mapping[str, State] = {str(state): state for state in FEEDBACK_STATES}


class FeedbackResult(StrEnum):
    """The result of recording something that a source of feedback delivered."""

    RECORDED = "recorded"  #: a new report of an email in this log, proven
    LIKELY = "likely"  #: a new report of an email in this log, unproven
    REPEATED = "repeated"  #: known already, or one of very many about its email
    UNMATCHED = "unmatched"  #: of no email in this log
    FORGED = "forged"  #: its token or signature is wrong
    STALE = "stale"  #: its signature is too old to be accepted
    MALFORMED = "malformed"  #: it cannot be read
    OVERSIZED = "oversized"  #: larger than any report
    IGNORED = "ignored"  #: no report, such as an automatic reply


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report about one email, decided: which state it leads to, and what follows for the address."""

    source: str
    #: What identifies it at its source.
    source_id: str
    #: What it says: delivered, delayed, relayed, bounced, complained or unsubscribed.
    kind: str
    #: Whether a signature proves it; an unproven one changes no state.
    is_proven: bool
    #: In one line, for people; without addresses.
    summary: str
    email_id: str | None = None
    #: With angle brackets; looked up together with the recipient, if there is no id.
    message_id: str | None = None
    recipient: str | None = None
    at: datetime | None = None
    reply: SmtpReply = _NO_REPLY
    remote_server: str | None = None
    #: Whether the mailbox is unreachable for good.
    is_hard: bool = False

    @property
    def target(self) -> State | None:
        """The state that it leads to; None if it is only noted."""
        return _TARGETS.get(self.kind)

    @property
    def digest(self) -> str:
        """Its key among the reports of all sources."""
        return hashlib.sha256(f"{self.source}\0{self.source_id}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FeedbackChange:
    """An email whose state a report has changed."""

    email_id: str
    state: State
    report: Report


@dataclass(kw_only=True)
class RecordedReports:
    """The results of recording reports."""

    counts: Counter[FeedbackResult] = field(default_factory=Counter)
    #: The new reports of emails in this log, with the email's id.
    new: list[tuple[str, Report]] = field(default_factory=list)
    changes: list[FeedbackChange] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LoggedReport:
    """A report as the log has it."""

    email_id: str
    source: str
    kind: str
    proof: str
    at: datetime | None
    received_at: datetime
    reply: SmtpReply
    remote_server: str | None
    is_hard: bool

    @property
    def is_proven(self) -> bool:
        """Whether a signature proves it."""
        return self.proof == PROVEN
