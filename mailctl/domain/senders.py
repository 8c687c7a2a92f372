"""The senders that emails may have, and which email has which: a pure decision over an allow-list."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailctl.errors import ConfigurationError, InvalidInput

#: The sender of emails that no other one is for.
DEFAULT_SENDER = "default"
SETTING = "MAILCTL_SENDERS"
#: The headers of a message that carry the sender and the tenant to a worker with another delivery log.
SENDER_HEADER = "mailctl_sender"
TENANT_HEADER = "mailctl_tenant"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class SenderIdentity:
    """The sender in the headers and the envelope of an email. Every value is from the settings."""

    name: str
    #: The address in From.
    address: str
    display_name: str
    #: The envelope sender, where bounces go.
    bounce_address: str
    #: The address for replies; "" for that in From.
    reply_to: str = ""
    #: The DKIM selectors by which the mail server signs, for checks; () if they are not known.
    dkim_selectors: tuple[str, ...] = ()
    #: The kinds that have this sender; empty for all kinds.
    kinds: frozenset[str] = frozenset()
    #: The tenants that have this sender; empty for all tenants.
    tenants: frozenset[str] = frozenset()

    def fits(self, *, kind: str, tenant: str) -> bool:
        """Whether emails of a kind and a tenant have this sender without asking for it."""
        if not self.kinds and not self.tenants:
            return False
        return (not self.kinds or kind in self.kinds) and (not self.tenants or tenant in self.tenants)


@dataclass(frozen=True, kw_only=True)
class Senders:
    """The allow-list of senders; the default one is first."""

    identities: tuple[SenderIdentity, ...]

    def choose(self, *, kind: str, tenant: str = "", requested: str = "") -> SenderIdentity:
        """Return the sender of an email: the requested one, or the first that fits, or the default one.

        Args:
            kind: the name of its kind.
            tenant: the tenant of the service that it belongs to; "" for none.
            requested: the name of a sender that the caller asked for; "" for none.

        Raises:
            ConfigurationError: the settings do not have the requested sender any more.
        """
        if requested:
            return self._find(requested)
        fitting = (each for each in self.identities if each.fits(kind=kind, tenant=tenant))
        return next(fitting, self.identities[0])

    def check(self, name: str) -> str:
        """Return the name of a sender that a caller asks for.

        Raises:
            InvalidInput: it is not in the allow-list.
        """
        if name not in self.names:
            known = ", ".join(self.names)
            raise InvalidInput("sender", f"is not one of {SETTING}.", fix=f"Use one of: {known}.")
        return name

    @property
    def names(self) -> list[str]:
        """The names of all senders."""
        return [each.name for each in self.identities]

    @property
    def kinds(self) -> set[str]:
        """The kinds that senders name."""
        return {kind for each in self.identities for kind in each.kinds}

    def _find(self, name: str) -> SenderIdentity:
        found = next((each for each in self.identities if each.name == name), None)
        if found is None:
            raise ConfigurationError(
                f"The sender {name} is not in {SETTING} any more.", fix="Add it again, or cancel the email."
            )
        return found


def validate_tenant(value: object, *, field: str = "tenant") -> str:
    """Return the name of a tenant.

    Raises:
        InvalidInput: it is no name.
    """
    if not isinstance(value, str) or not _TENANT.fullmatch(value):
        raise InvalidInput(field, "must be 1 to 64 letters, digits, dots, hyphens and underscores.")
    return value
