"""The hosts that requests may address: a page of another site must not reach the dashboard by its own name.

By DNS rebinding, the name of another site leads to this computer, and its scripts then count as the same
origin. Only a name can be rebound, never an IP address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.domain.link_validation import is_local_host

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The Host header (RFC 9110 section 7.2): an IPv6 address in brackets, or a name or an IPv4 address.
_HOST_HEADER = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+?)\.?)(?::\d{1,5})?")
#: Characters of the longest Host header: of a name (RFC 1035 section 2.3.4), the dot after it, and a port.
_LONGEST_HEADER = 253 + len(".:65535")


@dataclass(frozen=True, kw_only=True)
class AllowedHosts:
    """The hosts that requests may address."""

    #: Names in lower case; `*.` stands for any subdomain.
    names: frozenset[str] = frozenset()
    #: Whether any host is allowed, because somebody else checks it.
    is_any: bool = False

    def allows(self, header: str) -> bool:
        """Whether a request with this Host header is allowed; IP addresses and this computer always are."""
        if self.is_any:
            return True
        found = _HOST_HEADER.fullmatch(header.lower()) if len(header) <= _LONGEST_HEADER else None
        if found is None:
            return False
        host = found["address"] or found["name"]
        return _is_address(host) or is_local_host(host) or self._has_name(host)

    def _has_name(self, host: str) -> bool:
        parents = (f"*{host[index:]}" for index, char in enumerate(host) if char == ".")
        return not self.names.isdisjoint([host, *parents])


def hosts_from_setting(text: str, *, own: Iterable[str] | None) -> AllowedHosts:
    """Return the hosts of MAILCTL_WEB_HOSTS.

    Args:
        text: names, comma-separated; `*` for all of them.
        own: the names by which the server itself is known; None in the application of a service, which
            decides for itself which hosts it answers to unless the setting names some.
    """
    names = frozenset(name.strip().lower() for name in text.split(",") if name.strip())
    if "*" in names or (own is None and not names):
        return AllowedHosts(is_any=True)
    return AllowedHosts(names=names | {name.lower() for name in own or ()})


def names_of_server(host: str) -> frozenset[str]:
    """Return the names of a server that listens on an address: that address, and the name of the computer."""
    return frozenset({host, socket.gethostname()})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
