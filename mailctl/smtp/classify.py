"""Classifies SMTP replies: whose fault a refusal is, and what follows for the email.

Whoever needs to know what a code means asks here; the replies themselves are in `known_replies`. The
functions are pure, and the module imports no SMTP library, so that `mailctl status` can use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import (
    OPEN_CATEGORIES,
    OUR_FAULTS,
    Outcome,
    OutcomeKind,
    ReplyCategory,
    SmtpReply,
)
from mailctl.smtp.known_replies import find_category

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The longest stored text of a reply, in characters.
MAX_TEXT_LENGTH = 500

#: The server is about to close the channel (RFC 5321 section 3.8): the session cannot be used any more.
CLOSING_CODE = 421
#: Replies that decline what was asked (RFC 5321 section 4.2.1).
_NEGATIVE_CODES = range(400, 600)
#: A command came where the server did not expect it: both sides disagree about the session.
BAD_SEQUENCE_CODE = 503

#: The subjects of enhanced status codes that the table does not know, the second number (RFC 3463 section 3).
_BY_SUBJECT: Mapping[str, ReplyCategory] = {
    "1": ReplyCategory.RECIPIENT,  # addressing
    "2": ReplyCategory.RECIPIENT,  # mailbox: full, or it refuses this message
    "7": ReplyCategory.POLICY,  # security or policy
}
#: Reply codes, and subjects of enhanced status codes, by which a refused MAIL refuses the sender (RFC 5321
#: section 4.3.2).
_SENDER_CODES = frozenset({550, 553})
_SENDER_SUBJECTS = frozenset({"1", "7"})
_ABOUT_RECIPIENT = frozenset({ReplyCategory.DEAD_MAILBOX, ReplyCategory.RECIPIENT})
#: Faults of ours that a server may call temporary, although only we can correct them.
_OURS_IF_TEMPORARY = OUR_FAULTS - {ReplyCategory.CREDENTIALS, ReplyCategory.REPUTATION}
#: Deferrals that end if we send less, or later.
_THROTTLING = frozenset({ReplyCategory.RATE, ReplyCategory.CONNECTIONS, ReplyCategory.GREYLISTING})

#: Stages before the first email is offered: what fails here fails for every email.
_BEFORE_TRANSACTION = frozenset({"connect", "tls", "auth"})
_BEFORE_BODY = frozenset({"mail", "rcpt", "data"})

_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
#: Where qmail puts the enhanced status code: at the end of the text.
_ENHANCED_AT_END = re.compile(r"\(#([245])\.(\d{1,3})\.(\d{1,3})\)\s*$")


def classify_reply(code: int, text: str, *, stage: str) -> Outcome:
    """Decide what a reply that ends an attempt means (RFC 5321 section 4.2, RFC 3463).

    Args:
        code: the reply code; one outside 200 to 599 stands for a reply that could not be read.
        text: the text after the code, its lines separated by line feeds.
        stage: connect, tls, auth, mail, rcpt, data or body. A positive reply means success at `body`
            alone; at the other stages, the reply is one that the session could not continue with.

    Returns:
        The outcome; its reply text is one printable line without the enhanced status code.
    """
    known = code if 200 <= code <= 599 else None
    reply = SmtpReply(code=known, enhanced=_enhanced_code(code, text), text=one_line(text))
    category = reply_category(reply, stage=stage) if code in _NEGATIVE_CODES else None
    return Outcome(kind=_kind_of_reply(code, category, stage), reply=reply, stage=stage, category=category)


def reply_category(reply: SmtpReply, *, stage: str) -> ReplyCategory:
    """Return what a negative reply is about: by the table of known replies, or else by its numbers alone.

    Args:
        reply: the reply, as it came or as the delivery log has it.
        stage: the stage at which it came; "" if that is not known.
    """
    if known := find_category(reply, stage=stage):
        return known
    code, subject = reply.code or 0, (reply.enhanced or "")[2:].partition(".")[0]
    if stage == "mail" and code >= 500 and _refuses_sender(code, subject):
        return ReplyCategory.SENDER
    return _BY_SUBJECT.get(subject, ReplyCategory.OTHER)


def is_dead_mailbox(reply: SmtpReply, *, stage: str) -> bool:
    """Whether a reply says that the mailbox does not exist, so that no email can ever reach it."""
    return reply_category(reply, stage=stage) is ReplyCategory.DEAD_MAILBOX


def is_recipient_refusal(reply: SmtpReply, *, stage: str) -> bool:
    """Whether the mail server refused the recipient rather than the message."""
    category = reply_category(reply, stage=stage)
    return category in _ABOUT_RECIPIENT or (stage == "rcpt" and category is not ReplyCategory.CONTENT)


def is_rate_limit(reply: SmtpReply, *, stage: str) -> bool:
    """Whether a reply defers an email because we send too much or too fast, or are not trusted yet."""
    if not 400 <= (reply.code or 0) <= 499:
        return False
    category = reply_category(reply, stage=stage)
    # A server that says no more than "policy" (RFC 3463: 4.7.x) means the sending host.
    return category in _THROTTLING or (reply.enhanced or "").startswith("4.7.")


def leaves_fault_open(outcome: Outcome) -> bool:
    """Whether a refusal does not say whose fault it is: the recipient's, the message's or ours."""
    return outcome.kind is OutcomeKind.REFUSED and outcome.category in OPEN_CATEGORIES


def is_server_failure(outcome: Outcome) -> bool:
    """Whether an attempt failed because of the mail server or our account there, not because of the email."""
    if outcome.kind is OutcomeKind.CONFIG:
        return bool(outcome.stage)
    if outcome.category is ReplyCategory.CONNECTIONS:
        return False  # it works, for fewer sessions
    if outcome.kind is not OutcomeKind.DEFERRED:
        return False
    if is_server_stage(outcome.stage):
        return True
    is_about_system, is_closing = _is_about_mail_system(outcome), outcome.reply.code == CLOSING_CODE
    if outcome.stage != "mail":
        return is_about_system and is_closing  # 421 may come at any stage (RFC 5321 section 3.8)
    # MAIL names only our own sender: a failure there is not about a recipient or the content.
    is_closing = is_closing and outcome.category is ReplyCategory.OTHER
    return is_about_system or is_closing or is_unanswered(outcome)


def _is_about_mail_system(outcome: Outcome) -> bool:
    """Whether the mail server reports a problem of its own: by known words, or by X.3.X (RFC 3463)."""
    if outcome.category is ReplyCategory.OTHER:
        return (outcome.reply.enhanced or "").startswith("4.3.")
    return outcome.category is ReplyCategory.SERVER


def is_unanswered(outcome: Outcome) -> bool:
    """Whether the mail server timed out or disconnected before it got the message, without a reply."""
    return outcome.kind is OutcomeKind.DEFERRED and bool(outcome.stage) and outcome.reply.code is None


def is_server_stage(stage: str) -> bool:
    """Whether a stage comes before the first email is offered, so that a failure concerns every email."""
    return stage in _BEFORE_TRANSACTION


def one_line(text: str) -> str:
    """Return a text as one printable line without enhanced status codes, cut to `MAX_TEXT_LENGTH`."""
    lines = (
        _ENHANCED.sub("", line, count=1) if _ENHANCED.match(line) else line for line in text.splitlines()
    )
    printable = "".join(char if char.isprintable() else " " for char in " ".join(lines))
    return " ".join(printable.split())[:MAX_TEXT_LENGTH].rstrip()


def _kind_of_reply(code: int, category: ReplyCategory | None, stage: str) -> OutcomeKind:
    if stage == "body" and 250 <= code <= 259:
        return OutcomeKind.ACCEPTED
    if 400 <= code <= 499:
        return OutcomeKind.CONFIG if category in _OURS_IF_TEMPORARY else OutcomeKind.DEFERRED
    if 500 <= code <= 599:
        return _kind_of_refusal(code, category, stage)
    # Not a reply to the command: after the body, it is unknown whether the server accepted the message.
    return OutcomeKind.AMBIGUOUS if stage == "body" else OutcomeKind.DEFERRED


def _kind_of_refusal(code: int, category: ReplyCategory | None, stage: str) -> OutcomeKind:
    if code == BAD_SEQUENCE_CODE and stage in _BEFORE_BODY:
        return OutcomeKind.DEFERRED
    if category in OUR_FAULTS or is_server_stage(stage):
        return OutcomeKind.CONFIG
    return OutcomeKind.DEFERRED if category is ReplyCategory.SERVER else OutcomeKind.REFUSED


def _refuses_sender(code: int, subject: str) -> bool:
    return subject in _SENDER_SUBJECTS if subject else code in _SENDER_CODES


def _enhanced_code(code: int, text: str) -> str | None:
    """Return the enhanced status code, if its class is that of the reply (RFC 2034 section 4)."""
    found = _ENHANCED.match(text) or _ENHANCED_AT_END.search(text)
    return ".".join(found.groups()) if found and found[1] == str(code)[:1] else None
