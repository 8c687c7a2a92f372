"""Fingerprints: what errors with the same cause have in common, without what differs between emails."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.domain.reason_codes import ReasonCode

#: Domains from which on a refusal with one wording is about the sender, and not about the recipients' domain.
MANY_DOMAINS = 5
#: What differs between two texts that say the same: addresses, hosts, ids, times, and what is in brackets.
_PARTICULARS = re.compile(r"<[^>]*>|\[[^]]*\]|\([^)]*\)|\S*[@\d.:/=_]\S*")
#: How many texts a process remembers: a dashboard reads the same errors again and again.
_REMEMBERED = 20_000
#: The stages at which a mail server knows the recipient.
_RECIPIENT_STAGES = frozenset({"rcpt", "data", "body"})


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The fingerprint that errors of one group have in common."""

    reason_code: ReasonCode | None
    #: The SMTP stage; "" if no mail server was contacted.
    stage: str
    #: The reply code of the mail server; None if there was no reply.
    code: int | None
    #: The enhanced status code; None if the reply has none.
    enhanced: str | None
    #: The domain of the recipients; "" if the error is not about them, or many domains have it.
    domain: str
    #: The words of the error without addresses, numbers, hosts and ids.
    wording: str


@lru_cache(maxsize=_REMEMBERED)
def strip_particulars(text: str) -> str:
    """Return the words of a text that do not differ from email to email, in lower case.

    Args:
        text: the text of a reply of a mail server, or another error.
    """
    return " ".join(_PARTICULARS.sub(" ", text.lower()).split())


def make_fingerprint(
    *,
    reason_code: ReasonCode | None,
    stage: str,
    code: int | None,
    enhanced: str | None,
    recipient: str,
    text: str,
) -> Fingerprint:
    """Return the fingerprint of an error.

    Args:
        reason_code: why the attempt failed.
        stage: the SMTP stage at which it failed; "" if no mail server was contacted.
        code: the reply code; None without a reply.
        enhanced: the enhanced status code; None without one.
        recipient: the address of the recipient.
        text: the words of the error.
    """
    domain = recipient.rpartition("@")[2].lower() if stage in _RECIPIENT_STAGES else ""
    return Fingerprint(
        reason_code=reason_code,
        stage=stage,
        code=code,
        enhanced=enhanced,
        domain=domain,
        wording=strip_particulars(text),
    )


def join_domains(fingerprints: Iterable[Fingerprint]) -> dict[Fingerprint, Fingerprint]:
    """Return for each fingerprint the one of its group, in which many domains count as none.

    Args:
        fingerprints: all of the errors that are compared.
    """
    every = set(fingerprints)
    domains: dict[Fingerprint, set[str]] = defaultdict(set)
    for each in every:
        domains[replace(each, domain="")].add(each.domain)
    joined = {each: replace(each, domain="") for each in every}
    are_many = {without for without, names in domains.items() if len(names) >= MANY_DOMAINS}
    return {each: without if without in are_many else each for each, without in joined.items()}
