"""Asks DNS, in bounded time; a name without records is an empty answer, everything else an error."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.exception
import dns.rcode
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from mailctl.errors import DnsServerFailure, DnsUnavailable, InvalidInput

if TYPE_CHECKING:
    from dns.rdata import Rdata

#: Seconds for one question, repetitions included.
QUESTION_SECONDS = 3.0
_DNS_PORT = 53


class DnsResolver:
    """Asks a DNS server.

    Args:
        server: its address, perhaps with a port after a colon (`192.0.2.53`, `127.0.0.1:5353`,
            `[2001:db8::53]:53`); "" for those of this host.
        question_seconds: how long one question may take, repetitions included.

    Raises:
        InvalidInput: the address is none.
        DnsUnavailable: this host has no DNS server.
    """

    def __init__(self, server: str = "", *, question_seconds: float = QUESTION_SECONDS) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not server)
        except dns.resolver.NoResolverConfiguration:
            raise DnsUnavailable("This host has no DNS server.", fix="Name one with --dns-server.") from None
        if server:
            address, port = _parse_address(server)
            self._resolver.nameservers, self._resolver.port = [address], port
        self._resolver.lifetime = question_seconds
        self._resolver.use_edns(0, ednsflags=0, payload=1232)

    async def exists(self, name: str) -> bool:
        """Whether a name exists, whatever records it has.

        Raises:
            DnsServerFailure: the server answers with an error; all methods raise this.
            DnsUnavailable: there is no answer; all methods raise this.
        """
        return await self._ask(name, "SOA") is not None

    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name."""
        records = await self._ask(name, "TXT") or []
        texts = [b"".join(record.strings) for record in records if isinstance(record, TXT)]
        return [text.decode("utf-8", "replace") for text in texts]

    async def mail_hosts(self, domain: str) -> list[str]:
        """Return the mail servers of a domain (MX), the preferred one first; "." takes no email at all."""
        records = [record for record in await self._ask(domain, "MX") or [] if isinstance(record, MX)]
        ordered = sorted(records, key=lambda record: record.preference)
        return [str(record.exchange).rstrip(".") or "." for record in ordered]

    async def addresses(self, name: str) -> list[str]:
        """Return the IP addresses of a host, or the address that the name itself is."""
        if _is_address(name):
            return [name]
        return [str(record) for kind in ("A", "AAAA") for record in await self._ask(name, kind) or []]

    async def names_of(self, address: str) -> list[str]:
        """Return the names that an IP address has (PTR)."""
        reverse = dns.reversename.from_address(address).to_text()
        return [str(record).rstrip(".").lower() for record in await self._ask(reverse, "PTR") or []]

    async def _ask(self, name: str, kind: str) -> list[Rdata] | None:
        """Return the records; None if the name does not exist."""
        try:
            answer = await self._resolver.resolve(name, kind, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return []
        except dns.resolver.NoNameservers as error:
            if codes := _response_codes(error):
                raise DnsServerFailure(
                    f"The DNS query for {kind} of {name} failed: the server answers {codes}.",
                    fix=f"Check the DNS servers of that domain, and its DNSSEC: dig {name} {kind}",
                ) from None
            reason = "no server can be reached"
        except dns.exception.Timeout:
            reason = f"no answer in {self._resolver.lifetime:g} s"
        except (dns.exception.DNSException, OSError, ValueError) as error:
            reason = f"no usable answer ({type(error).__name__})"
        else:
            return list(answer)
        raise DnsUnavailable(
            f"The DNS query for {kind} of {name} failed: {reason}.",
            fix="Check the DNS server of this host, or name another one with --dns-server.",
        ) from None


def _response_codes(error: dns.resolver.NoNameservers) -> str:
    """Return the response codes of the servers, such as "SERVFAIL"; "" if none answered."""
    answers = [attempt[-1] for attempt in error.kwargs["errors"] if attempt[-1] is not None]
    return ", ".join(dict.fromkeys(dns.rcode.to_text(answer.rcode()) for answer in answers))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parse_address(server: str) -> tuple[str, int]:
    """Return the address and the port of a DNS server."""
    address, port = server, str(_DNS_PORT)
    if not _is_address(server) and not server.endswith("]"):
        address, _, port = server.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not _is_address(address) or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput(
            "--dns-server", "must be an IP address, optionally with a port.", fix="Give one like 192.0.2.53."
        )
    return address, int(port)
