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
class Addressed:
    """Where a message goes here."""

    to: str
    subject: str
    #: Whom it was meant for, if not for `to`.
    meant_for: str | None = None


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whom this environment may mail; addresses and domains are in lower case."""

    #: None where everybody may be mailed.
    addresses: frozenset[str] | None = None
    domains: frozenset[str] = frozenset()
    #: Domains of which only what is below them is allowed.
    parents: frozenset[str] = frozenset()
    redirect_to: str | None = None

    def __str__(self) -> str:
        """What is in force, in one sentence; "" if nothing is."""
        if self.redirect_to is not None:
            return f"{_REDIRECT}: all mail goes to {self.redirect_to}"
        if self.addresses is None:
            return ""
        domains = [f"@{name}" for name in sorted(self.domains)] + [
            f"*.{name}" for name in sorted(self.parents)
        ]
        return f"{_ALLOW}: mail goes only to {', '.join([*sorted(self.addresses), *domains])}"

    def addressed(self, recipient: str, *, subject: str) -> Addressed:
        """Return where a message for `recipient` goes, and under which subject."""
        if self.redirect_to is None or recipient.lower() == self.redirect_to.lower():
            return Addressed(to=recipient, subject=subject)
        return Addressed(to=self.redirect_to, subject=f"[to {recipient}] {subject}", meant_for=recipient)

    def refusal(self, recipient: str) -> str:
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
        return domain in self.domains or any(domain.endswith(f".{parent}") for parent in self.parents)


#: Where nothing is set.
EVERYBODY = Audience()


def audience_of(settings: Settings) -> Audience:
    """Return whom these settings allow to be mailed.

    Raises:
        ConfigurationError: one of them is not usable; nothing may be sent then.
    """
    allow, redirect = settings.mailctl_recipients_allow, settings.mailctl_redirect_to
    if not allow and not redirect:
        return EVERYBODY
    audience = _allowed(allow) if allow else EVERYBODY
    if not redirect:
        return audience
    to = _address(redirect.strip(" "), setting=_REDIRECT)
    if not audience._allows(to.lower()):
        raise ConfigurationError(
            f"{_REDIRECT}={to} is not among {_ALLOW}.", fix="Add it there, or leave one of the two out."
        )
    return Audience(
        addresses=audience.addresses, domains=audience.domains, parents=audience.parents, redirect_to=to
    )


def _allowed(text: str) -> Audience:
    addresses, domains = set[str](), {"@": set[str](), "*.": set[str]()}
    for entry in (part.strip(" ") for part in text.split(",")):
        if found := _DOMAIN.fullmatch(entry):
            domains[found[1]].add(_address(f"x@{found[2]}", setting=_ALLOW).partition("@")[2])
        else:
            addresses.add(_address(entry, setting=_ALLOW).lower())
    return Audience(
        addresses=frozenset(addresses), domains=frozenset(domains["@"]), parents=frozenset(domains["*."])
    )


def _address(value: str, *, setting: str) -> str:
    from mailctl.domain import validation  # takes long to import, and most have nothing to check

    try:
        return validation.address(value)
    except InvalidInput:
        raise ConfigurationError(
            f"{setting}: {value!r} is not usable; nothing is sent.",
            fix="Give addresses, @example.com for a domain, *.example.com for those below it."
            if setting == _ALLOW
            else "Give one address.",
        ) from None
