"""What an SMTP reply means for an email: the one table of reply codes and enhanced status codes.

Whoever needs to know what a code means asks here. The functions are pure, and the module imports no SMTP
library, so that `mailctl status` can use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.domain.models import Outcome, OutcomeKind, ReplyCategory, SmtpReply

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of a server's text that are kept.
MAX_TEXT_LENGTH = 500

#: The server is about to close the channel (RFC 5321 section 3.8): the session cannot be used any more.
CLOSING_CODE = 421
#: Replies that decline what was asked (RFC 5321 section 4.2.1).
_NEGATIVE_CODES = range(400, 600)
#: A command came where the server did not expect it: both sides disagree about the session.
BAD_SEQUENCE_CODE = 503

#: Reply codes that decide whatever the stage: sign in first, mechanism too weak, credentials invalid,
#: encryption required (RFC 4954 section 6).
_BY_CODE: Mapping[int, ReplyCategory] = dict.fromkeys((530, 534, 535, 538), ReplyCategory.CREDENTIALS)
#: Enhanced status codes with a meaning of their own (RFC 3463, RFC 4954, RFC 7504, RFC 7505).
#:
#: A bare 550 is in no table: servers without enhanced status codes use it for unknown users and for policy.
_BY_STATUS: Mapping[str, ReplyCategory] = {
    "5.1.1": ReplyCategory.DEAD_MAILBOX,  # no such user
    "5.1.2": ReplyCategory.DEAD_MAILBOX,  # no such host
    "5.1.3": ReplyCategory.DEAD_MAILBOX,  # bad syntax
    "5.1.6": ReplyCategory.DEAD_MAILBOX,  # moved, without a forwarding address
    "5.1.7": ReplyCategory.SENDER,  # bad syntax of the sender's address
    "5.1.8": ReplyCategory.SENDER,  # no such host of the sender
    "5.1.10": ReplyCategory.DEAD_MAILBOX,  # the domain accepts no email
    "5.2.1": ReplyCategory.DEAD_MAILBOX,  # disabled
    "5.4.1": ReplyCategory.DEAD_MAILBOX,  # what Exchange Online says of an unknown user
    "5.4.5": ReplyCategory.QUOTA,  # Gmail's daily limit
    **dict.fromkeys(("5.7.8", "5.7.9", "5.7.10", "5.7.11"), ReplyCategory.CREDENTIALS),
}
#: The subjects of other enhanced status codes, the second number (RFC 3463 section 3).
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
#: Problems of our own account: credentials, or a quota that is available again tomorrow.
_ACCOUNT = frozenset({ReplyCategory.CREDENTIALS, ReplyCategory.QUOTA})

#: Stages before the first email is offered: what fails here fails for every email.
_BEFORE_TRANSACTION = frozenset({"connect", "tls", "auth"})
_BEFORE_BODY = frozenset({"mail", "rcpt", "data"})

_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


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
    """Return what a negative reply is about.

    Args:
        reply: the reply, as it came or as the delivery log has it.
        stage: the stage at which it came; "" if that is not known.
    """
    code, status = reply.code or 0, reply.enhanced or ""
    subject = status[2:].partition(".")[0]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if stage == "mail" and code >= 500 and _refuses_sender(code, subject):
        return ReplyCategory.SENDER
    found = _BY_STATUS.get(status)
    if found is ReplyCategory.CREDENTIALS and stage == "body":
        return ReplyCategory.POLICY  # the session was accepted: this is about the message
    return found or _BY_SUBJECT.get(subject, ReplyCategory.OTHER)


def is_dead_mailbox(reply: SmtpReply, *, stage: str) -> bool:
    """Whether a reply says that the mailbox does not exist, so that no email can ever reach it."""
    return reply_category(reply, stage=stage) is ReplyCategory.DEAD_MAILBOX


def is_recipient_refusal(reply: SmtpReply, *, stage: str) -> bool:
    """Whether the mail server refused the recipient rather than the message."""
    return stage == "rcpt" or reply_category(reply, stage=stage) in _ABOUT_RECIPIENT


def is_rate_limit(reply: SmtpReply, *, stage: str) -> bool:
    """Whether a reply defers an email for policy: a rate limit, our reputation, or greylisting."""
    is_temporary = (reply.enhanced or "").startswith("4.")
    return is_temporary and reply_category(reply, stage=stage) is ReplyCategory.POLICY


def is_server_failure(outcome: Outcome) -> bool:
    """Whether an attempt failed because of the mail server or our account there, not because of the email."""
    if outcome.kind is OutcomeKind.CONFIG:
        return bool(outcome.stage)
    return outcome.kind is OutcomeKind.DEFERRED and is_server_stage(outcome.stage)


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
        return OutcomeKind.DEFERRED
    if 500 <= code <= 599:
        return _kind_of_refusal(code, category, stage)
    # Not a reply to what was asked: the session is confused, and after the body nobody knows.
    return OutcomeKind.AMBIGUOUS if stage == "body" else OutcomeKind.DEFERRED


def _kind_of_refusal(code: int, category: ReplyCategory | None, stage: str) -> OutcomeKind:
    if code == BAD_SEQUENCE_CODE and stage in _BEFORE_BODY:
        return OutcomeKind.DEFERRED
    is_sender = stage == "mail" and category is ReplyCategory.SENDER
    is_ours = is_server_stage(stage) or category in _ACCOUNT or is_sender
    return OutcomeKind.CONFIG if is_ours else OutcomeKind.BOUNCED


def _refuses_sender(code: int, subject: str) -> bool:
    return subject in _SENDER_SUBJECTS if subject else code in _SENDER_CODES


def _enhanced_code(code: int, text: str) -> str | None:
    """Return the enhanced status code, if its class is that of the reply (RFC 2034 section 4)."""
    found = _ENHANCED.match(text)
    return ".".join(found.groups()) if found and found[1] == str(code)[:1] else None
