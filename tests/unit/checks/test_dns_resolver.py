"""The address of a DNS server, and questions that need none."""

from __future__ import annotations

import asyncio

import pytest

from mailctl.checks.dns_resolver import DnsResolver, _parse_address
from mailctl.errors import InvalidInput


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_server_is_an_address_with_or_without_a_port(server: str, expected: tuple[str, int]) -> None:
    """An IPv6 address may have brackets, and needs them before a port."""
    assert _parse_address(server) == expected


@pytest.mark.parametrize(
    "server",
    [
        "dns.example",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:x",
        "[",
        "[]:53",
        "192.0.2.53:\u0665",
    ],
)
def test_what_is_no_address_is_refused(server: str) -> None:
    """Before anything is asked: a name would need a DNS server itself."""
    with pytest.raises(InvalidInput, match="IP address"):
        DnsResolver(server)


def test_the_addresses_of_an_address_are_itself() -> None:
    """Nobody is asked."""
    resolver = DnsResolver("192.0.2.53")
    for address in ("192.0.2.7", "2001:db8::7"):
        assert asyncio.run(resolver.addresses(address)) == [address]
