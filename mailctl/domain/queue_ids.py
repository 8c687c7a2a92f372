"""The id under which a mail server has queued an email, by which its administrator finds it in the log."""

from __future__ import annotations

import re

#: How the replies of mail servers and providers to a message name the id; the names of groups do not matter.
_QUEUE_ID = re.compile(
    r"""
      \bqueued\ as:?\ (?P<postfix>[\w.-]{5,64})            # Postfix, SendGrid, Mailjet
    | \bid=(?P<exim>[\w-]{6,64})                           # Exim
    | \bInternalId=(?P<exchange>\d{5,24})                  # Microsoft Exchange
    | ^(?P<sendmail>[\w-]{6,64})\ Message\ accepted\ for   # Sendmail, OpenSMTPD
    | \bMessage\ Queued\ \((?P<haraka>[\w.-]{6,64})\)      # Haraka
    | ^Ok\ (?P<ses>[0-9a-f]{16}-[0-9a-f-]{20,64})$         # Amazon SES
    | ^OK\ +\d{9,11}\ (?P<gmail>[\w.-]{6,64})\ -\ gsmtp    # Google
    | ^ok\ \d{9,11}\ qp\ (?P<qmail>\d+)                    # qmail
    """,
    re.VERBOSE | re.IGNORECASE,
)


def find_queue_id(text: str) -> str | None:
    """Return the id that the reply to an accepted message names; None if it names none that is known.

    Args:
        text: the text of the reply, without its codes.
    """
    found = _QUEUE_ID.search(text)
    return None if found is None else next(each for each in found.groups() if each)
