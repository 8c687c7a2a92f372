"""Reads DNS records about the domains of senders (SPF, DKIM, DMARC) without asking DNS."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Mechanisms and modifiers of SPF that cause a DNS query (RFC 7208 section 4.6.4), which allows 10 of them.
_QUERYING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
MAX_SPF_QUERIES = 10
_SPF_TERM = re.compile(
    r"(?P<qualifier>[+?~-]?)(?P<name>[a-z][a-z0-9_.-]*)(?:(?P<sign>[:=])(?P<value>[^\s/]+))?(?:/\S*)?"
)
#: Receivers refuse a record with any other (RFC 7208 section 4.6), and ignore unknown modifiers.
_SPF_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
#: What providers ask for in SPF, by the end of the names of their mail servers.
_PROVIDER_INCLUDES = {
    ".amazonaws.com": "amazonses.com",
    ".sendgrid.net": "sendgrid.net",
    ".office365.com": "spf.protection.outlook.com",
    ".outlook.com": "spf.protection.outlook.com",
    ".gmail.com": "_spf.google.com",
    ".google.com": "_spf.google.com",
    ".mailgun.org": "mailgun.org",
    ".mailjet.com": "spf.mailjet.com",
    ".postmarkapp.com": "spf.mtasv.net",
    ".brevo.com": "spf.brevo.com",
}
#: Selectors that providers use; those of a domain cannot be listed.
COMMON_SELECTORS = ("selector1", "selector2", "google", "s1", "s2", "k1", "k2", "default", "dkim", "mail")
_POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, kw_only=True)
class SpfTerm:
    """A mechanism or modifier of an SPF record."""

    #: "+", "?", "~" or "-".
    qualifier: str
    name: str
    value: str

    @property
    def causes_query(self) -> bool:
        """Whether a receiver has to ask DNS for it."""
        return self.name in _QUERYING

    @property
    def included(self) -> str:
        """The domain whose record counts as well; "" if there is none."""
        return self.value.rstrip(".").lower() if self.name in ("include", "redirect") else ""


def spf_records(texts: Sequence[str]) -> list[str]:
    """Return the SPF records among the TXT records of a domain."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def parse_spf(record: str) -> list[SpfTerm] | None:
    """Return the terms of an SPF record; None if a receiver cannot read it."""
    terms = []
    for word in record.lower().split()[1:]:
        found = _SPF_TERM.fullmatch(word)
        if found is None or not _is_readable(found):
            return None
        terms.append(
            SpfTerm(qualifier=found["qualifier"] or "+", name=found["name"], value=found["value"] or "")
        )
    return terms


def _is_readable(term: re.Match[str]) -> bool:
    """Whether receivers know a mechanism of SPF, with an address where it needs one; any modifier is."""
    name, value = term["name"], term["value"]
    if term["sign"] == "=":
        return not term["qualifier"]
    if name not in ("ip4", "ip6"):
        return name in _SPF_MECHANISMS
    try:
        return ipaddress.ip_address(value or "").version == int(name[2])
    except ValueError:
        return False


def provider_include(host: str) -> str:
    """Return the domain that SPF has to include for the mail server of a provider; "" for any other."""
    name = f".{host.rstrip('.').lower()}"
    return next((domain for end, domain in _PROVIDER_INCLUDES.items() if name.endswith(end)), "")


def suggested_spf(host: str) -> str:
    """Return an SPF record for a domain that sends by a mail server.

    Args:
        host: its name or IP address. One that only this computer or network can reach stands for the servers
            by which emails leave it, which are not known here.
    """
    if include := provider_include(host):
        return f"v=spf1 include:{include} ~all"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "v=spf1 mx ~all" if host.lower() == "localhost" else f"v=spf1 a:{host} ~all"
    return f"v=spf1 ip{address.version}:{address} ~all" if address.is_global else "v=spf1 mx ~all"


def parse_tags(text: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record (`k=v; k=v`), names in lower case."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def dmarc_records(texts: Sequence[str]) -> list[str]:
    """Return the DMARC records among TXT records."""
    return [text for text in texts if text.replace(" ", "").lower().startswith("v=dmarc1")]


def dmarc_policy(record: str) -> str | None:
    """Return the policy of a DMARC record: none, quarantine or reject; None if it has no valid one."""
    policy = parse_tags(record).get("p", "").lower()
    return policy if policy in _POLICIES else None


def is_dkim_key(record: str) -> bool | None:
    """Return whether a TXT record has a DKIM key; None if the key was revoked (RFC 6376 section 3.6.1)."""
    key = parse_tags(record).get("p")
    if key is None:
        return False
    return True if key else None


def parents(domain: str) -> list[str]:
    """Return a domain and its parents, but for the top-level domain; the nearest first."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(len(labels) - 1)] or [domain]


def is_aligned(
    domain: str, other: str, *, policy_domains: tuple[str | None, str | None], strict: bool
) -> bool:
    """Whether the domain of the envelope sender or of a signature counts for the domain in From.

    Args:
        domain: the domain in From.
        other: the other domain.
        policy_domains: the domains whose DMARC records hold for the two, if they have one (RFC 9989 finds
            the organizational domain so, without a list of public suffixes).
        strict: whether the record asks for the same domain.
    """
    if domain == other:
        return True
    if strict:
        return False
    ours, theirs = policy_domains
    if ours is not None and theirs is not None:
        return ours == theirs
    return other.endswith(f".{domain}") or domain.endswith(f".{other}")
