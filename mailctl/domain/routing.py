"""Decides by which mail server an email goes: pure functions over the routes of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

#: The name of the mail server that EMAIL_HOST and the other EMAIL_* settings describe.
DEFAULT_SERVER = "default"
#: Names of mail servers, in the order in which they are tried.
ServerOrder = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RoutedEmail:
    """The facts about an email by which a mail server is chosen."""

    kind: str
    queue: str
    recipient: str
    campaign: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """An ordered list of mail servers, and the emails that it is for; an empty condition always holds."""

    servers: ServerOrder
    kinds: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    campaigns: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    #: Domains of recipients in lower case; `*.example.com` stands for all subdomains.
    domains: frozenset[str] = frozenset()

    def fits(self, email: RoutedEmail) -> bool:
        """Whether all conditions hold for an email."""
        return (
            _holds(self.kinds, email.kind)
            and _holds(self.queues, email.queue)
            and _holds(self.campaigns, email.campaign)
            and _holds(self.tenants, email.tenant)
            and (not self.domains or is_domain_listed(domain_of(email.recipient), self.domains))
        )


@dataclass(frozen=True, kw_only=True)
class ServerPlan:
    """The mail server of an attempt, and those that follow if it does not work."""

    server: str = DEFAULT_SERVER
    #: Tried in this order, as long as it is certain that no server before has accepted the email.
    alternatives: ServerOrder = ()


@dataclass(frozen=True, kw_only=True)
class Routing:
    """The routes of the settings; the first that fits an email decides.

    An email that no route fits goes by `DEFAULT_SERVER`.
    """

    routes: tuple[Route, ...] = ()

    def order_for(self, email: RoutedEmail, *, possible_holder: str | None = None) -> ServerOrder:
        """Return the mail servers for an email, in the order in which they are tried.

        Args:
            email: the email.
            possible_holder: the server that may have accepted it in an earlier attempt whose outcome is not
                known; None if none may have. Only this server can recognise a second copy, so that the email
                never moves to another.
        """
        if possible_holder is not None:
            return (possible_holder,)
        return next((route.servers for route in self.routes if route.fits(email)), (DEFAULT_SERVER,))

    @property
    def orders(self) -> tuple[ServerOrder, ...]:
        """Every order in which servers are tried, each once."""
        return tuple(dict.fromkeys([*(route.servers for route in self.routes), (DEFAULT_SERVER,)]))

    def routes_by(self, servers: Collection[str]) -> tuple[str, ...]:
        """Return the orders, as text, in which there is no other server than these."""
        known = [*self.orders, *((server,) for server in servers)]
        return tuple(dict.fromkeys(join_order(order) for order in known if set(order) <= set(servers)))

    def routes_over(self, server: str) -> tuple[str, ...]:
        """Return the orders, as text, in which a server is."""
        return tuple(
            dict.fromkeys(join_order(order) for order in (*self.orders, (server,)) if server in order)
        )

    def has_alternative(self, server: str) -> bool:
        """Whether emails move to another server when this one does not work."""
        return any(server in order[:-1] for order in self.orders)


def plan_attempt(
    order: ServerOrder,
    *,
    failing: Collection[str] = (),
    probed: str | None = None,
) -> ServerPlan | None:
    """Decide by which mail server an attempt goes.

    Args:
        order: the mail servers for the email, in the order in which they are tried.
        failing: the servers whose circuits are open.
        probed: the failing server that this email is to probe; None for no probe.

    Returns:
        The plan; None if the email has to wait until a server works again.
    """
    usable = tuple(server for server in order if server not in failing or server == probed)
    return ServerPlan(server=usable[0], alternatives=usable[1:]) if usable else None


def join_order(order: ServerOrder) -> str:
    """Return an order as text, such as `default,backup`."""
    return ",".join(order)


def domain_of(address: str) -> str:
    """Return the domain of an address in lower case."""
    return address.rpartition("@")[2].lower()


def is_domain_listed(domain: str, listed: Collection[str]) -> bool:
    """Whether a domain is in a list, itself or as a subdomain by `*.example.com`."""
    if domain in listed:
        return True
    parents = domain.split(".")[1:]
    return any(f"*.{'.'.join(parents[start:])}" in listed for start in range(len(parents)))


def _holds(allowed: frozenset[str], value: str | None) -> bool:
    return not allowed or value in allowed
