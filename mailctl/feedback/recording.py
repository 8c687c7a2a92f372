"""The door of feedback: decides what reports mean, and records them in the delivery log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import FeedbackResult, Report
from mailctl.delivery_log.storage.engine import is_about_a_row, is_lock_conflict
from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.domain.outcomes import SmtpReply
from mailctl.errors import LogUnavailable
from mailctl.feedback.listeners import tell_listeners
from mailctl.feedback.models import FeedbackKind, Proof
from mailctl.security.address_masking import mask_addresses_in_text
from mailctl.smtp.classify import is_dead_mailbox, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.feedback.models import Feedback
    from mailctl.runtime import Runtime

_MAX_SERVER = 255
#: Seconds that a delivery log in PostgreSQL may take while a client waits (SQLite has the same limit); and
#: seconds that a batch of several calls waits for a lock of another transaction.
_SECONDS, _LOCK_SECONDS = 10.0, 0.1
#: How far the clock of a source may be ahead; and a time before any email of mailctl.
_CLOCK_SKEW, _EARLIEST = timedelta(days=1), datetime(2001, 1, 2, tzinfo=UTC)
#: Characters of an address or a Message-ID, at most (RFC 5322 section 2.1.1).
_MAX_TEXT = 998
#: The codes that a diagnostic begins with, which are stored on their own.
_CODES = re.compile(r"\A\s*(?P<code>[245]\d\d[ -]\s*)?(?P<enhanced>[245]\.\d{1,3}\.\d{1,3}\s+)?")
#: What a report says, for people, by its kind; `{by}` and `{to}` name the server, if it is known.
_SAYS = {
    FeedbackKind.DELIVERED: "delivered{by}",
    FeedbackKind.DELAYED: "delayed{by}",
    FeedbackKind.RELAYED: "relayed{to}",
    FeedbackKind.BOUNCED: "refused{by}",
    FeedbackKind.COMPLAINED: "marked as spam by its recipient",
    FeedbackKind.UNSUBSCRIBED: "its recipient unsubscribed",
}


@dataclass(frozen=True, kw_only=True)
class FeedbackReceipt:
    """The result of recording reports.

    Args:
        recorded: how many were new and proven, and are in the delivery log.
        repeated: how many were known already; they change nothing.
        unmatched: how many are about no email of this delivery log; they are only counted.
        likely: how many were new and unproven; each is an event, and changes nothing else.
    """

    recorded: int = 0
    repeated: int = 0
    unmatched: int = 0
    likely: int = 0

    def __add__(self, other: FeedbackReceipt) -> FeedbackReceipt:
        return FeedbackReceipt(
            recorded=self.recorded + other.recorded,
            repeated=self.repeated + other.repeated,
            unmatched=self.unmatched + other.unmatched,
            likely=self.likely + other.likely,
        )


def record(runtime: Runtime, items: Sequence[Feedback]) -> FeedbackReceipt:
    """Record feedback about emails, in any order and as often as it comes.

    What is proven changes the states of the emails (complained prevails over bounced, bounced over
    delivered), and suppresses addresses after hard bounces and complaints.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
        items: the reports.

    Raises:
        LogUnavailable: the delivery log cannot be written; nothing is recorded, and the source should try
            again.
    """
    result = runtime.feedback_reports.record([report_of(item) for item in items])
    tell_listeners(result)
    return FeedbackReceipt(
        recorded=result.counts[FeedbackResult.RECORDED],
        repeated=result.counts[FeedbackResult.REPEATED],
        unmatched=result.counts[FeedbackResult.UNMATCHED],
        likely=result.counts[FeedbackResult.LIKELY],
    )


def record_each(runtime: Runtime, calls: Sequence[Sequence[Feedback]]) -> list[Exception | None]:
    """Record the feedback of several calls in one transaction; if one call fails, the others are recorded.

    A single call waits for a lock of another transaction. One of several calls does not, so that it does not
    hold up the others: it fails, and `should_wait_alone` is true for its error.

    Returns:
        The error that `record` raises for each call, after 10 seconds at most; None if it was recorded.
    """
    with time_limit(_SECONDS, lock_seconds=_LOCK_SECONDS if len(calls) > 1 else None):
        return _record_each(runtime, calls)


def should_wait_alone(error: Exception) -> bool:
    """Whether a call of several has failed only because it would have waited for another transaction."""
    return is_lock_conflict(error)


def _record_each(runtime: Runtime, calls: Sequence[Sequence[Feedback]]) -> list[Exception | None]:
    try:
        record(runtime, [item for items in calls for item in items])
    except Exception as error:
        if len(calls) == 1 or _is_about_the_log(error):
            return [error] * len(calls)
        return [failed for items in calls for failed in _record_each(runtime, [items])]
    return [None] * len(calls)


def _is_about_the_log(error: Exception) -> bool:
    """Whether each other call would fail for the same reason."""
    return isinstance(error, LogUnavailable) and not (is_about_a_row(error) or is_lock_conflict(error))


def settle(runtime: Runtime) -> None:
    """Apply reports that came before the outcome of their attempt, where that is recorded by now.

    Raises:
        LogUnavailable: the delivery log cannot be written.
    """
    tell_listeners(runtime.feedback_reports.settle())


def count_rejected(runtime: Runtime, source: str, result: FeedbackResult, amount: int = 1) -> None:
    """Count what a source delivered that is no report: it is forged, too old, malformed or too large.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
        source: the source, as in `Feedback.source`.
        result: why it is none.
        amount: how many.

    Raises:
        LogUnavailable: the delivery log cannot be written.
    """
    runtime.feedback_counts.add(source, result, amount)


def report_of(item: Feedback, *, now: datetime | None = None) -> Report:
    """Return what a report means: what it leads to, and whether the bounce is a hard one.

    Args:
        item: the report.
        now: the current time, aware; None reads the clock.
    """
    reply = SmtpReply(
        code=item.smtp_code if item.smtp_code and 200 <= item.smtp_code <= 599 else None,
        enhanced=_enhanced_of(item),
        text=mask_addresses_in_text(one_line(_without_codes(item.diagnostic))),
    )
    server = one_line(item.remote_server or "")[:_MAX_SERVER] or None
    return Report(
        source=item.source[:32],
        source_id=item.source_id,
        kind=item.kind,
        is_proven=item.proof is Proof.VERIFIED,
        summary=_summary(item.kind, reply, server),
        email_id=item.email_id,
        message_id=f"<{_storable(item.message_id)}>" if item.message_id else None,
        recipient=_storable(item.recipient) if item.recipient else None,
        at=_plausible(item.at, now or datetime.now(UTC)),
        reply=reply,
        remote_server=server,
        is_hard=item.kind is FeedbackKind.BOUNCED and is_hard_bounce(reply, is_permanent=item.is_permanent),
    )


def is_hard_bounce(reply: SmtpReply, *, is_permanent: bool | None) -> bool:
    """Whether no email can ever reach a mailbox, by the table of replies.

    Args:
        reply: what the remote server said, as far as the source tells.
        is_permanent: whether the source calls the bounce permanent; it decides only where no code of the
            remote server is known.
    """
    is_exact = reply.enhanced is not None and not reply.enhanced.endswith(".0.0")
    has_code = reply.code is not None or is_exact
    return is_dead_mailbox(reply, stage="") or (is_permanent is True and not has_code)


def _plausible(at: datetime | None, now: datetime) -> datetime | None:
    """Return the reported time of an event; None if the clock of the source is obviously wrong."""
    return at if at is not None and _EARLIEST <= at <= now + _CLOCK_SKEW else None


def _without_codes(diagnostic: str) -> str:
    """Return the words of a reply; each line of it may begin with the codes (RFC 2034 section 4)."""
    found = _CODES.match(diagnostic)
    if found is None or not (found["code"] and found["enhanced"]):
        return _CODES.sub("", diagnostic)
    code, enhanced = found["code"][:3], re.escape(found["enhanced"].strip())
    return re.sub(rf"(?:\A|(?<=\s))\s*{code}[ -]\s*{enhanced}(?:\s+|\Z)", "", diagnostic)


def _storable(text: str) -> str:
    """Return a text of strangers without what a database refuses, as if the log were down."""
    return "".join(char for char in text if char.isprintable())[:_MAX_TEXT]


def _enhanced_of(item: Feedback) -> str | None:
    given = (item.enhanced_code or "").strip()
    parts = given.split(".")
    is_code = len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts)
    return given if is_code and len(given) <= 12 and parts[0] in ("2", "4", "5") else None


def _summary(kind: FeedbackKind, reply: SmtpReply, server: str | None) -> str:
    by, to = (f" by {server}", f" to {server}") if server else ("", "")
    # Who gave up may not be a server that refused anything.
    is_given_up = kind is FeedbackKind.BOUNCED and not server and reply.code is None
    what = "bounced" if is_given_up else _SAYS[kind].format(by=by, to=to)
    said = str(reply)
    return f"{what}: {said}" if said else what
