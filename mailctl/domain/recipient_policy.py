"""Whom this environment may mail: everybody, only some, or one address that gets all of it.

For staging with a copy of production data: what is not allowed here cannot leave, whoever asks for it.
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
    """Where a message goes here."""

    to: str
    subject: str
    #: Whom it was meant for, if not for `to`.
    original_recipient: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecipientPolicy:
    """Whom this environment may mail; addresses and domains are in lower case."""

    #: None where everybody may be mailed.
    addresses: frozenset[str] | None = None
    domains: frozenset[str] = frozenset()
    #: Domains of which only what is below them is allowed.
    parent_domains: frozenset[str] = frozenset()
    redirect_to: str | None = None

    def __str__(self) -> str:
        """What is in force, in one sentence; "" if nothing is."""
        if self.redirect_to is not None:
            return f"{_REDIRECT}: all mail goes to {self.redirect_to}"
        if self.addresses is None:
            return ""
        domains = [f"@{name}" for name in sorted(self.domains)] + [
            f"*.{name}" for name in sorted(self.parent_domains)
        ]
        return f"{_ALLOW}: mail goes only to {', '.join([*sorted(self.addresses), *domains])}"

    def resolve_destination(self, recipient: str, *, subject: str) -> Destination:
        """Return where a message for `recipient` goes, and under which subject."""
        if self.redirect_to is None or recipient.lower() == self.redirect_to.lower():
            return Destination(to=recipient, subject=subject)
        return Destination(
            to=self.redirect_to, subject=f"[to {recipient}] {subject}", original_recipient=recipient
        )

    def refusal_reason(self, recipient: str) -> str:
        """Return why nothing may be sent to an address, the last before it would be; "" if it may."""
        address = recipient.lower()
        if self.redirect_to is not None and address != self.redirect_to.lower():
            return f"not sent: {_REDIRECT} is in force, and the message was for somebody else"
        if self._allows(address):
            return ""
        return f"not sent: the address is not among {_ALLOW}"

    def _allows(self, address: str) -> bool:
        if self.addresses is None or address in self.addresses:
            return True
        domain = address.rpartition("@")[2]
        return domain in self.domains or any(domain.endswith(f".{parent}") for parent in self.parent_domains)


#: Where nothing is set.
UNRESTRICTED = RecipientPolicy()


def recipient_policy_from_settings(settings: Settings) -> RecipientPolicy:
    """Return whom these settings allow to be mailed.

    Raises:
        ConfigurationError: one of them is not usable; nothing may be sent then.
    """
    allow, redirect = settings.mailctl_recipients_allow, settings.mailctl_redirect_to
    if not allow and not redirect:
        return UNRESTRICTED
    audience = _parse_allow_list(allow) if allow else UNRESTRICTED
    if not redirect:
        return audience
    to = _address(redirect.strip(" "), setting=_REDIRECT)
    if not audience._allows(to.lower()):
        raise ConfigurationError(
            f"{_REDIRECT}={to} is not among {_ALLOW}.", fix="Add it there, or leave one of the two out."
        )
    return RecipientPolicy(
        addresses=audience.addresses,
        domains=audience.domains,
        parent_domains=audience.parent_domains,
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
    from mailctl.domain import validation  # takes long to import, and most have nothing to check

    try:
        return validation.validate_address(value)
    except InvalidInput:
        raise ConfigurationError(
            f"{setting}: {value!r} is not usable; nothing is sent.",
            fix="Give addresses, @example.com for a domain, *.example.com for those below it."
            if setting == _ALLOW
            else "Give one address.",
        ) from None
