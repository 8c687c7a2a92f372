"""Decides whether a refusal is the same for everybody, so that the fault is ours: a pure function."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.domain.fingerprints import MANY_DOMAINS, strip_particulars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.domain.outcomes import SmtpReply

#: Different recipients that have to be refused alike, with nothing accepted in between.
MIN_RECIPIENTS = 10
#: Different domains among them: many dead mailboxes of one domain are that domain's affair.
MIN_DOMAINS = MANY_DOMAINS


@dataclass(frozen=True, kw_only=True)
class EndedAttempt:
    """How an attempt to send an email ended: the mail server accepted it, or refused it for good."""

    #: The address, in lower case.
    recipient: str
    #: What the refusal says (`fingerprint`); None if the email was accepted.
    refusal: str | None
    #: Whether the table of replies leaves open whose fault the refusal is.
    is_open: bool = False


def fingerprint(reply: SmtpReply) -> str:
    """Return what a reply says without the recipient, hosts, ids and times, so that equal ones are equal."""
    return " ".join([str(reply.code or ""), reply.enhanced or "", strip_particulars(reply.text)])


def find_shared_refusal(newest_first: Iterable[EndedAttempt]) -> str | None:
    """Return the refusal that everybody got since an email was last accepted; None if there is none.

    Refusals that are known to be the recipient's fault, or of another wording, do not count and do not
    interrupt the row.

    Args:
        newest_first: how attempts ended, the latest first.
    """
    recipients: dict[str, set[str]] = defaultdict(set)
    for attempt in newest_first:
        if attempt.refusal is None:
            return None
        if not attempt.is_open:
            continue
        alike = recipients[attempt.refusal]
        alike.add(attempt.recipient)
        domains = {address.rpartition("@")[2] for address in alike}
        if len(alike) >= MIN_RECIPIENTS and len(domains) >= MIN_DOMAINS:
            return attempt.refusal
    return None
