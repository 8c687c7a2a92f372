"""The block of IP addresses that a request came from: its addresses count together for a limit."""

from __future__ import annotations

import ipaddress

from mailctl.errors import InvalidInput

#: Bits of the network that one customer or host has at most at a provider: who has one address of it may
#: easily have them all.
_PREFIX_LENGTHS = {4: 24, 6: 64}


def address_block(source: object) -> str:
    """Return the block of an IP address: /24 for IPv4, /64 for IPv6, such as `203.0.113.0/24`.

    Args:
        source: the IP address of the client, as text or as an object of `ipaddress`.

    Raises:
        InvalidInput: it is not an IP address.
    """
    try:
        address = ipaddress.ip_address(str(source).strip())
    except ValueError:
        raise InvalidInput(
            "source", "is not an IP address.", fix="Give the address of the client, or None if it has none."
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network(f"{address}/{_PREFIX_LENGTHS[address.version]}", strict=False))
