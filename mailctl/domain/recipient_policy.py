"""The recipient policy of an environment: send to everybody, to an allow-list, or redirect to one address.

It protects staging environments with a copy of production data: nothing can override it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from mailctl.settings import Settings

_ALLOW = "MAILCTL_RECIPIENTS_ALLOW"
_REDIRECT = "MAILCTL_REDIRECT_TO"
_DOMAIN = re.compile(r"(@|\*\.)([^@*]+)")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The actual recipient and subject of a message under the policy."""

    to: str
    subject: str
    #: The intended recipient, if it is not `to`.
    original_recipient: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecipientPolicy:
    """The recipients that this environment may send to; addresses and domains are in lower case."""

    #: The allowed addresses; None if every address is allowed.
    addresses: frozenset[str] | None = None
    domains: frozenset[str] = frozenset()
    #: Domains whose subdomains alone are allowed.
    parent_domains: frozenset[str] = frozenset()
    #: The address that gets all mail.
    redirect_to: str | None = None

    def __str__(self) -> str:
        """The policy in one sentence; "" if there are no restrictions."""
        if self.redirect_to is not None:
            return f"{_REDIRECT}: all mail goes to {self.redirect_to}"
        if self.addresses is None:
            return ""
        domains = [f"@{name}" for name in sorted(self.domains)] + [
            f"*.{name}" for name in sorted(self.parent_domains)
        ]
        return f"{_ALLOW}: mail goes only to {', '.join([*sorted(self.addresses), *domains])}"

    def resolve_destination(self, recipient: str, *, subject: str) -> Destination:
        """Return the actual recipient and subject of a message for `recipient`."""
        if self.redirect_to is None or recipient.lower() == self.redirect_to.lower():
            return Destination(to=recipient, subject=subject)
        return Destination(
            to=self.redirect_to, subject=f"[to {recipient}] {subject}", original_recipient=recipient
        )

    def refusal_reason(self, recipient: str) -> str:
        """Return why the policy forbids sending to an address; "" if it allows it."""
        address = recipient.lower()
        if self.redirect_to is not None and address != self.redirect_to.lower():
            return f"not sent: {_REDIRECT} is set, and the message is for another address"
        if self._allows(address):
            return ""
        return f"not sent: {_ALLOW} does not allow the address"

    def _allows(self, address: str) -> bool:
        if self.addresses is None or address in self.addresses:
            return True
        domain = address.rpartition("@")[2]
        return domain in self.domains or any(domain.endswith(f".{parent}") for parent in self.parent_domains)


#: The policy without restrictions.
UNRESTRICTED = RecipientPolicy()


def recipient_policy_from_settings(settings: Settings) -> RecipientPolicy:
    """Return the recipient policy of these settings.

    Raises:
        ConfigurationError: a setting is invalid; nothing may be sent then.
    """
    allow, redirect = settings.mailctl_recipients_allow, settings.mailctl_redirect_to
    if not allow and not redirect:
        return UNRESTRICTED
    policy = _parse_allow_list(allow) if allow else UNRESTRICTED
    if not redirect:
        return policy
    to = _address(redirect.strip(" "), setting=_REDIRECT)
    if not policy._allows(to.lower()):
        raise ConfigurationError(
            f"{_ALLOW} does not allow {_REDIRECT}={to}.",
            fix="Add the address there, or unset one of the two.",
        )
    return RecipientPolicy(
        addresses=policy.addresses,
        domains=policy.domains,
        parent_domains=policy.parent_domains,
        redirect_to=to,
    )


def _parse_allow_list(text: str) -> RecipientPolicy:
    addresses, domains = set[str](), {"@": set[str](), "*.": set[str]()}
    for entry in (part.strip(" ") for part in text.split(",")):
        if found := _DOMAIN.fullmatch(entry):
            domains[found[1]].add(_address(f"x@{found[2]}", setting=_ALLOW).partition("@")[2])
        else:
            addresses.add(_address(entry, setting=_ALLOW).lower())
    return RecipientPolicy(
        addresses=frozenset(addresses),
        domains=frozenset(domains["@"]),
        parent_domains=frozenset(domains["*."]),
    )


def _address(value: str, *, setting: str) -> str:
    from mailctl.domain.address_validation import validate_address

    try:
        return validate_address(value)
    except InvalidInput:
        raise ConfigurationError(
            f"{setting}: {value!r} is not a valid address; nothing is sent.",
            fix="Give addresses, @example.com for a domain, *.example.com for its subdomains."
            if setting == _ALLOW
            else "Give one address.",
        ) from None
