"""Bounces without a delivery status: what the text of the message says, and the fields of single programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.feedback import wording
from mailctl.feedback.dsn import parse_date, split_codes
from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.verdicts import Verdict

if TYPE_CHECKING:
    from mailctl.feedback.received_mail import ReceivedMail

#: Where a program begins to quote the message that it returns.
_QUOTE = re.compile(
    r"^(-{2,}.{0,60}(original|message|copy|returned|headers|below|unsent|follows).{0,80}"
    r"|received: from .*|return-path: .*)$",
    re.IGNORECASE | re.MULTILINE,
)
#: A line that may quote the words of a server, with a code.
_CODED = re.compile(
    r"^.*?(?:(?<![\d.])[45]\d\d[ \-#]|\(#[45]\.\d+\.\d+\)|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}\b).*$",
    re.MULTILINE,
)
_SERVER = re.compile(
    r"(?:host|server|from|by|to|mx|relay|at)\s+(?:\w+\s+)?\[?([a-z0-9-]+(?:\.[a-z0-9-]+)+)\]?", re.IGNORECASE
)
_ADDRESS = re.compile(r"<?([\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+)+)>?")
_MAX_DIAGNOSTIC = 600
#: Lines after one with a code that continue its text.
_MAX_LINES = 3


def is_bounce(mail: ReceivedMail) -> bool:
    """Whether a message without a delivery status is a bounce, by its sender, its subject or its text."""
    if mail.header("X-Failed-Recipients"):
        return True
    from_address = (mail.addresses("From") or [mail.header("From")])[0]
    is_from_program = mail.has_null_sender or wording.says("bounce", "senders", from_address)
    says_so = wording.says("bounce", "subjects", mail.header("Subject"))
    return is_from_program and (says_so or wording.says("bounce", "texts", _own_text(mail)))


def read_text(mail: ReceivedMail) -> Verdict:
    """Return what the text of a bounce says; the reply that it quotes decides, and its words come next.

    Args:
        mail: a message for which `is_bounce` holds.
    """
    text = _own_text(mail)
    quoted = _quoted_reply(text)
    code, enhanced = split_codes(quoted)
    is_delay = _is_delay(mail, text) and not str(enhanced or code).startswith("5")
    server = _SERVER.search(quoted) or _SERVER.search(text)
    return Verdict(
        kind=FeedbackKind.DELAYED if is_delay else FeedbackKind.BOUNCED,
        recipient=_recipient(mail, text),
        smtp_code=code,
        enhanced_code=enhanced,
        diagnostic=quoted[:_MAX_DIAGNOSTIC],
        remote_server=server[1].rstrip(".") if server else None,
        is_permanent=None if is_delay else wording.is_permanent(text, code=code, enhanced=enhanced),
        at=parse_date(mail.header("Date")),
    )


def _is_delay(mail: ReceivedMail, text: str) -> bool:
    says_so = wording.says("delay", "subjects", mail.header("Subject"))
    return says_so or wording.says("delay", "texts", text)


def _own_text(mail: ReceivedMail) -> str:
    """Return the text of the program, without the message that it returns."""
    text = mail.text or mail.raw.partition("\n\n")[2][:20_000]
    # Some programs announce the reply of the server with dashes as well: something must be before the quote.
    found = next((each for each in _QUOTE.finditer(text) if each.start() > 40), None)
    return text[: found.start()] if found else text


def _quoted_reply(text: str) -> str:
    """Return the first reply in a text that has a code, with the lines that continue it."""
    found = list(_CODED.finditer(text))
    best = next((each for each in found if re.search(r"(?<![\d.])[45]\d\d[ \-#]", each[0])), None) or (
        found[0] if found else None
    )
    if best is None:
        return ""
    rest = text[best.end() :].lstrip("\r\n").splitlines()[: _MAX_LINES - 1]
    more = [line.strip() for line in _until_blank(rest)]
    return re.sub(r"^[>\s|]+", "", " ".join([best[0].strip(), *more]))


def _until_blank(lines: list[str]) -> list[str]:
    end = next((place for place, line in enumerate(lines) if not line.strip()), len(lines))
    return lines[:end]


def _recipient(mail: ReceivedMail, text: str) -> str | None:
    failed = mail.addresses("X-Failed-Recipients")
    if failed:
        return failed[0]
    returned = mail.returned
    if returned is not None and (to := _ADDRESS.search(returned.raw("to"))):
        return to[1]
    found = _ADDRESS.search(text)
    return found[1] if found else None
