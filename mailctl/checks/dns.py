"""Checks of DNS for the domains of senders: SPF, DKIM, DMARC and alignment, MX, reverse names, reports."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain import mail_dns
from mailctl.domain.routing import domain_of
from mailctl.errors import DnsServerFailure, MailctlError
from mailctl.rendering.message_settings import message_settings_of
from mailctl.smtp.mail_servers import mail_servers_from_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from mailctl.checks.dns_resolver import DnsResolver
    from mailctl.domain.senders import SenderIdentity
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="dns")
#: Seconds for all questions together.
_TOTAL_SECONDS = 20.0
#: How deep includes of SPF are followed.
_MAX_DEPTH = 10


def check_dns(
    settings: Settings,
    *,
    server: str = "",
    question_seconds: float = 3.0,
    total_seconds: float = _TOTAL_SECONDS,
) -> Iterator[Finding]:
    """Check what DNS says about the domains of all senders.

    Args:
        settings: the settings.
        server: the DNS server to ask; "" for those of this host.
        question_seconds: how long one question may take.
        total_seconds: how long all questions may take.
    """
    # Imported here, because nothing else needs dnspython.
    from mailctl.checks.dns_resolver import DnsResolver

    try:
        resolver = DnsResolver(server, question_seconds=question_seconds)
        identities = message_settings_of(settings).senders.identities
        hosts = [each.dns_host for each in mail_servers_from_settings(settings).by_name.values()]
    except MailctlError as error:
        yield _GROUP.error("dns", error)
        return
    yield from asyncio.run(_collect(_DnsChecks(resolver, hosts), identities, seconds=total_seconds))


def describe_dns_questions(settings: Settings) -> str:
    """Return about which domains `check_dns` asks, for the operator who confirms that.

    Raises:
        ConfigurationError: the senders or the mail servers are not usable.
    """
    identities = message_settings_of(settings).senders.identities
    hosts = [each.dns_host for each in mail_servers_from_settings(settings).by_name.values()]
    return ", ".join(dict.fromkeys([*_domains(identities), *hosts]))


def _domains(identities: Sequence[SenderIdentity]) -> list[str]:
    """Return the domains of senders and of their bounce addresses, each once."""
    addresses = [address for each in identities for address in (each.bounce_address, each.address)]
    return list(dict.fromkeys(map(domain_of, addresses)))


async def _collect(
    checks: _DnsChecks, identities: Sequence[SenderIdentity], *, seconds: float
) -> list[Finding]:
    """Return the findings until DNS stops answering or the time is up."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            await checks.check_all(identities, found)
    except MailctlError as error:
        found.append(_GROUP.error("dns", error))
    except TimeoutError:
        detail = f"DNS did not answer all questions in {seconds:g} s."
        found.append(_GROUP.fail("dns", detail, fix="Try again, or name another server with --dns-server."))
    return found


class _DnsChecks:
    """The checks, with what was asked already."""

    def __init__(self, resolver: DnsResolver, hosts: Sequence[str]) -> None:
        self._dns = resolver
        self._hosts = hosts

    async def check_all(self, identities: Sequence[SenderIdentity], found: list[Finding]) -> None:
        """Append a finding for each question, so that those before an error are kept."""
        missing = [domain for domain in _domains(identities) if not await self._exists(domain, found)]
        identities = [
            each
            for each in identities
            if not {domain_of(each.bounce_address), domain_of(each.address)} & {*missing}
        ]
        for bounce_domain in dict.fromkeys(domain_of(each.bounce_address) for each in identities):
            await _append(self._spf(bounce_domain), f"SPF {bounce_domain}", found)
            await _append(self._mx(bounce_domain), f"MX {bounce_domain}", found)
        for domain in dict.fromkeys(domain_of(each.address) for each in identities):
            senders = [each for each in identities if domain_of(each.address) == domain]
            await _append(self._authentication(domain, senders), f"DMARC {domain}", found)
            await _append(self._reports(domain), f"reports {domain}", found)
        for host in dict.fromkeys(self._hosts):
            await _append(self._reverse(host), f"reverse name {host}", found)

    async def _exists(self, domain: str, found: list[Finding]) -> bool:
        """Return whether a domain exists; append a finding if it does not, or if the query fails."""
        try:
            exists = await self._dns.exists(domain)
        except DnsServerFailure as error:
            found.append(_GROUP.error(f"domain {domain}", error))
            return False
        if not exists:
            found.append(_no_such_domain(domain))
        return exists

    async def _authentication(self, domain: str, senders: Sequence[SenderIdentity]) -> list[Finding]:
        selectors = tuple(dict.fromkeys(name for each in senders for name in each.dkim_selectors))
        keys = await self._keys(domain, selectors or mail_dns.COMMON_SELECTORS)
        dkim = list(self._dkim(domain, selectors, keys))
        return dkim + await self._dmarc(domain, senders, is_signed=any(keys.values()))

    async def _spf(self, domain: str) -> Finding:
        name = f"SPF {domain}"
        records = mail_dns.spf_records(await self._dns.texts(domain))
        wanted = mail_dns.suggested_spf(self._hosts[0])
        if not records:
            return _GROUP.warn(
                name,
                "There is no SPF record: receivers cannot tell who may send for this domain.",
                fix=_add(domain, wanted),
            )
        if len(records) > 1:
            detail = f"There are {len(records)} SPF records; receivers then use none of them."
            return _GROUP.fail(name, detail, fix="Merge them into one TXT record.")
        return await self._spf_terms(domain, records[0])

    async def _spf_terms(self, domain: str, record: str) -> Finding:
        name, terms = f"SPF {domain}", mail_dns.parse_spf(record)
        if terms is None:
            return _GROUP.fail(name, "The SPF record cannot be read.", fix=f"Correct it: {record[:200]}")
        included, queries = await self._follow_spf(domain, record, includers=())
        if queries > mail_dns.MAX_SPF_QUERIES:
            detail = f"It needs {queries} DNS queries; receivers stop at {mail_dns.MAX_SPF_QUERIES}."
            return _GROUP.fail(name, detail, fix="Remove includes that are not needed.")
        if any(term.name == "all" and term.qualifier == "+" for term in terms):
            detail = "It ends with +all, which allows anyone to send for this domain."
            return _GROUP.fail(name, detail, fix="End it with ~all or -all.")
        missing = [
            include
            for include in dict.fromkeys(mail_dns.provider_include(host) for host in self._hosts)
            if include and include not in included
        ]
        if missing:
            detail = f"It does not include {missing[0]}, whose servers send the emails."
            return _GROUP.warn(name, detail, fix=f"Add include:{missing[0]} before the last term.")
        return _GROUP.ok(name, f"{record[:200]} ({queries} of {mail_dns.MAX_SPF_QUERIES} DNS queries)")

    async def _follow_spf(
        self, domain: str, record: str, *, includers: tuple[str, ...]
    ) -> tuple[set[str], int]:
        """Return the domains that a record includes, also indirectly, and how many queries it needs."""
        if domain in includers:  # a loop: receivers follow it until they reach the limit
            return set(), mail_dns.MAX_SPF_QUERIES
        included: set[str] = set()
        terms = mail_dns.parse_spf(record) or []
        queries = sum(term.causes_query for term in terms)
        for target in (term.included for term in terms if term.included and "%" not in term.included):
            included.add(target)
            if len(includers) < _MAX_DEPTH and queries <= mail_dns.MAX_SPF_QUERIES:
                for nested in mail_dns.spf_records(await self._dns.texts(target))[:1]:
                    more, count = await self._follow_spf(target, nested, includers=(*includers, domain))
                    included |= more
                    queries += count
        return included, queries

    async def _mx(self, domain: str) -> Finding:
        name = f"MX {domain}"
        hosts = await self._dns.mail_hosts(domain)
        if hosts and hosts != ["."]:
            return _GROUP.ok(name, ", ".join(hosts[:3]))
        if not hosts and await self._dns.addresses(domain):
            return _GROUP.ok(name, "no MX record; bounces go to the host with this name")
        return _GROUP.warn(
            name,
            "No server accepts email for this domain, so bounces and replies are lost;"
            " some receivers reject such senders.",
            fix=f"Add: {domain} MX 10 mail.{domain}., or set another bounce_address in MAILCTL_SENDERS.",
        )

    async def _keys(self, domain: str, selectors: Sequence[str]) -> dict[str, bool | None]:
        """Return what each selector has: a key, none, or a revoked one (None)."""
        answers = await asyncio.gather(
            *(self._dns.texts(f"{selector}._domainkey.{domain}") for selector in selectors)
        )
        return {
            selector: next((mail_dns.is_dkim_key(text) for text in texts), False)
            for selector, texts in zip(selectors, answers, strict=True)
        }

    def _dkim(self, domain: str, selectors: Sequence[str], keys: dict[str, bool | None]) -> Iterator[Finding]:
        name, found = f"DKIM {domain}", [selector for selector, has_key in keys.items() if has_key]
        for selector in selectors:
            place = f"{selector}._domainkey.{domain}"
            if keys[selector] is None:
                yield _GROUP.fail(name, f"The key of {place} was revoked.", fix="Sign with another selector.")
            elif not keys[selector]:
                fix = f"Add the record that your mail server shows for it: {place} TXT v=DKIM1; k=rsa; p=…"
                yield _GROUP.fail(name, f"There is no key at {place}.", fix=fix)
        if found:
            yield _GROUP.ok(name, f"keys of {', '.join(found)}")
        elif not selectors:
            yield _GROUP.skip(
                name,
                "unknown: selectors cannot be listed, and none of the common ones has a key; name"
                " yours as dkim_selectors of a sender in MAILCTL_SENDERS",
            )

    async def _dmarc(
        self, domain: str, senders: Sequence[SenderIdentity], *, is_signed: bool
    ) -> list[Finding]:
        name = f"DMARC {domain}"
        policy_domain, records = await self._policy(domain)
        if policy_domain is None:
            record = f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}"
            detail = "There is no DMARC record; Gmail and Yahoo require one of bulk senders."
            return [_GROUP.warn(name, detail, fix=_add(f"_dmarc.{domain}", record))]
        if len(records) > 1 or mail_dns.dmarc_policy(records[0]) is None:
            detail = "There is more than one record." if len(records) > 1 else "It has no valid policy."
            fix = f"Keep one at _dmarc.{policy_domain}, with p=none, p=quarantine or p=reject."
            return [_GROUP.fail(name, detail, fix=fix)]
        found = [_GROUP.ok(name, f"p={mail_dns.dmarc_policy(records[0])}, at _dmarc.{policy_domain}")]
        strict = mail_dns.parse_tags(records[0]).get("aspf", "r").lower() == "s"
        for bounce_domain in dict.fromkeys(domain_of(each.bounce_address) for each in senders):
            other, _ = await self._policy(bounce_domain)
            is_spf_aligned = mail_dns.is_aligned(
                domain, bounce_domain, policy_domains=(policy_domain, other), strict=strict
            )
            found.append(
                _alignment(domain, bounce_domain, is_spf_aligned=is_spf_aligned, is_signed=is_signed)
            )
        return found

    async def _policy(self, domain: str) -> tuple[str | None, list[str]]:
        """Return the nearest domain with a DMARC record, the domain itself included, and its records."""
        for parent in mail_dns.parents(domain):
            if records := mail_dns.dmarc_records(await self._dns.texts(f"_dmarc.{parent}")):
                return parent, records
        return None, []

    async def _reports(self, domain: str) -> Finding:
        """Report what receivers of TLS reports and MTA-STS are set up: a note, as email goes without them."""
        tls_rpt, sts = await asyncio.gather(
            self._dns.texts(f"_smtp._tls.{domain}"), self._dns.texts(f"_mta-sts.{domain}")
        )
        notes = [
            _note("TLS-RPT", tls_rpt, _add(f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua=mailto:tls@{domain}")),
            _note("MTA-STS", sts, _add(f"_mta-sts.{domain}", "v=STSv1; id=1") + ", and publish a policy"),
        ]
        return _GROUP.skip(f"reports {domain}", "; ".join(notes))

    async def _reverse(self, host: str) -> Finding:
        name = f"reverse name {host}"
        addresses = [each for each in await self._dns.addresses(host) if ipaddress.ip_address(each).is_global]
        if not addresses:
            return _GROUP.skip(name, "not known: the mail server has no public address here")
        if mail_dns.provider_include(host):
            return _GROUP.skip(name, "the provider sends from its own hosts")
        for address in addresses:
            names = await self._dns.names_of(address)
            if not names:
                fix = f"Ask the operator of the network of {address} to add: PTR {host}."
                return _GROUP.warn(name, f"{address} has no reverse name; receivers reject it.", fix=fix)
            back = await asyncio.gather(*(self._dns.addresses(each) for each in names))
            if not any(address in found for found in back):
                detail = f"The reverse name of {address} is {names[0]}, which does not have this address."
                return _GROUP.warn(name, detail, fix=f"Add: {names[0]} A {address}")
        return _GROUP.ok(name, ", ".join(addresses))


async def _append(question: Awaitable[Finding | list[Finding]], name: str, found: list[Finding]) -> None:
    """Append the findings of one check; an error answer to its query does not stop the other checks."""
    try:
        answer = await question
    except DnsServerFailure as error:
        answer = _GROUP.error(name, error)
    found.extend(answer if isinstance(answer, list) else [answer])


def _no_such_domain(domain: str) -> Finding:
    return _GROUP.fail(
        f"domain {domain}",
        f"The domain {domain} does not exist: receivers reject what comes from it.",
        fix="Correct EMAIL_FROM_ADDRESS or MAILCTL_SENDERS, or register the domain.",
    )


def _alignment(domain: str, bounce_domain: str, *, is_spf_aligned: bool, is_signed: bool) -> Finding:
    name = f"alignment {domain}"
    if is_spf_aligned:
        return _GROUP.ok(name, f"bounces go to {bounce_domain}, so SPF counts for DMARC")
    if is_signed:
        return _GROUP.ok(
            name, f"by DKIM, if the mail server signs with d={domain}; SPF is for {bounce_domain}"
        )
    return _GROUP.warn(
        name,
        f"Bounces go to {bounce_domain}, so SPF does not count for {domain}, and no DKIM key is known:"
        " DMARC fails.",
        fix=f"Configure the mail server to sign with d={domain}, or set a bounce_address in {domain}.",
    )


def _add(name: str, record: str) -> str:
    return f'Add: {name} TXT "{record}"'


def _note(what: str, records: Sequence[str], fix: str) -> str:
    return f"{what} is set up" if records else f"{what} is not set up ({fix})"
