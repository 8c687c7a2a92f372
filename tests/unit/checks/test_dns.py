"""What DNS answers means for email, without a DNS server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from mailctl.checks import dns
from mailctl.checks.finding import Finding, FindingStatus
from mailctl.domain.senders import SenderIdentity
from mailctl.errors import DnsUnavailable

if TYPE_CHECKING:
    from mailctl.checks.dns_resolver import DnsResolver

OK, WARN, FAIL, NOTE = FindingStatus.OK, FindingStatus.WARN, FindingStatus.FAIL, FindingStatus.SKIP
HOST, ADDRESS = "smtp.shop.example", "93.184.216.34"


@dataclass
class Answers:
    """Answers of DNS: texts, mail servers, addresses and reverse names, by name."""

    txt: dict[str, list[str]] = field(default_factory=dict)
    mx: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    #: A name about which there is no answer.
    broken: str = ""
    asked: list[str] = field(default_factory=list)

    async def exists(self, name: str) -> bool:
        """Whether a name exists."""
        return name not in self.missing

    async def texts(self, name: str) -> list[str]:
        """Return the texts of a name."""
        self.asked.append(name)
        if name == self.broken:
            raise DnsUnavailable(f"no answer about {name}")
        return self.txt.get(name, [])

    async def mail_hosts(self, domain: str) -> list[str]:
        """Return the mail servers of a domain."""
        return self.mx.get(domain, [])

    async def addresses(self, name: str) -> list[str]:
        """Return the addresses of a host."""
        return self.hosts.get(name, [])

    async def names_of(self, address: str) -> list[str]:
        """Return the reverse names of an address."""
        return self.names.get(address, [])


def sender(
    address: str = "a@shop.example", *, bounces: str = "", selectors: tuple[str, ...] = ()
) -> SenderIdentity:
    """Return a sender whose bounces go to its own address, or to another one."""
    return SenderIdentity(
        name="default",
        address=address,
        display_name="Shop",
        bounce_address=bounces or address,
        dkim_selectors=selectors,
    )


def check(answers: Answers, *senders: SenderIdentity, host: str = HOST) -> dict[str, Finding]:
    """Return the findings by name."""
    checks = dns._DnsChecks(cast("DnsResolver", answers), [host])
    found = asyncio.run(dns._collect(checks, senders or [sender()], seconds=60))
    return {each.name: each for each in found}


def spf(record: str, *, host: str = HOST, **others: list[str]) -> Finding:
    """Return the finding about a record of SPF; others are those of the domains that it names."""
    texts = {"shop.example": [record]} | {name.replace("_", "."): value for name, value in others.items()}
    return check(Answers(txt=texts), host=host)["SPF shop.example"]


@pytest.mark.parametrize(
    ("record", "status", "said"),
    [
        ("v=spf1 mx -all", OK, "1 of 10 DNS queries"),
        ("v=spf1 ip4:192.0.2.1 ~all", OK, "0 of 10 DNS queries"),
        ("v=spf1 +all", FAIL, "allows anyone"),
        ("v=spf1 all", FAIL, "allows anyone"),
        ("v=spf1 ?all", OK, "0 of 10"),
        ("v=spf1 ipv4:192.0.2.1 -all", FAIL, "cannot be read"),
        ("v=spf2 -all", WARN, "no SPF record"),
        ("v=spf1 " + " ".join(f"a:h{n}.example" for n in range(11)) + " -all", FAIL, "needs 11 DNS queries"),
    ],
)
def test_a_record_of_spf_is_judged_as_receivers_do(record: str, status: FindingStatus, said: str) -> None:
    """RFC 7208: an unknown mechanism, or more than ten queries, makes it worthless."""
    found = spf(record)
    assert (found.status, said in found.detail) == (status, True), found


def test_queries_of_included_records_count() -> None:
    """However deep they are."""
    found = spf(
        "v=spf1 include:one.example -all",
        one_example=["v=spf1 include:two.example a mx -all"],
        two_example=["v=spf1 a -all"],
    )
    assert "5 of 10" in found.detail


def test_records_that_include_each_other_end() -> None:
    """As they do for receivers: with an error, not never."""
    answers = Answers(
        txt={
            "shop.example": ["v=spf1 include:b.example -all"],
            "b.example": ["v=spf1 include:shop.example -all"],
        }
    )
    assert check(answers)["SPF shop.example"].status is FAIL
    assert len(answers.asked) < 40


def test_a_macro_is_not_followed() -> None:
    """Its name depends on the email."""
    assert spf("v=spf1 include:%{d}.spf.example -all").status is OK


class TestMailServers:
    """Where bounces go."""

    @pytest.mark.parametrize(
        ("mx", "hosts", "status"),
        [(["mx.example"], [], OK), ([], ["192.0.2.1"], OK), ([], [], WARN), (["."], ["192.0.2.1"], WARN)],
    )
    def test_a_domain_takes_email_by_its_mx_or_its_address(
        self, mx: list[str], hosts: list[str], status: FindingStatus
    ) -> None:
        """Unless it says that it takes none (RFC 7505)."""
        found = check(Answers(mx={"shop.example": mx}, hosts={"shop.example": hosts}))
        assert found["MX shop.example"].status is status


class TestDkim:
    """Keys of DKIM, as far as the selectors are known."""

    @pytest.mark.parametrize(
        ("record", "status", "said"),
        [
            (["v=DKIM1; k=rsa; p=MIGf"], OK, "keys of s1"),
            (["v=DKIM1; p="], FAIL, "was revoked"),
            ([], FAIL, "There is no key at s1._domainkey.shop.example"),
        ],
    )
    def test_the_key_of_a_selector_of_ours_has_to_be_there(
        self, record: list[str], status: FindingStatus, said: str
    ) -> None:
        """The mail server signs with it."""
        answers = Answers(txt={"s1._domainkey.shop.example": record})
        found = check(answers, sender(selectors=("s1",)))["DKIM shop.example"]
        assert (found.status, said in found.detail) == (status, True), found

    def test_unknown_selectors_are_no_fault(self) -> None:
        """Those of providers are tried; a key at one of them is found."""
        assert check(Answers())["DKIM shop.example"].status is NOTE
        google = Answers(txt={"google._domainkey.shop.example": ["v=DKIM1; p=MIGf"]})
        assert check(google)["DKIM shop.example"].status is OK


class TestDmarc:
    """Policies of DMARC, and whether SPF counts for them."""

    @pytest.mark.parametrize(
        ("record", "status", "said"),
        [
            (["v=DMARC1; p=quarantine"], OK, "p=quarantine, at _dmarc.shop.example"),
            ([], WARN, "no DMARC record"),
            (["v=DMARC1; p=maybe"], FAIL, "no valid policy"),
            (["v=DMARC1; p=none", "v=DMARC1; p=none"], FAIL, "more than one"),
        ],
    )
    def test_a_policy_has_to_be_one(self, record: list[str], status: FindingStatus, said: str) -> None:
        """And only one."""
        found = check(Answers(txt={"_dmarc.shop.example": record}))["DMARC shop.example"]
        assert (found.status, said in found.detail) == (status, True), found

    def test_the_policy_of_a_parent_holds_for_a_subdomain(self) -> None:
        """It is named where it is."""
        answers = Answers(txt={"_dmarc.shop.example": ["v=DMARC1; p=none"]})
        found = check(answers, sender("a@mail.shop.example"))
        assert "at _dmarc.shop.example" in found["DMARC mail.shop.example"].detail

    @pytest.mark.parametrize(
        ("policy", "bounces", "has_key", "status", "said"),
        [
            ("p=none", "b@shop.example", False, OK, "SPF counts"),
            ("p=none", "b@mail.shop.example", False, OK, "SPF counts"),
            ("p=none; aspf=s", "b@mail.shop.example", False, WARN, "DMARC fails"),
            ("p=none; aspf=s", "b@mail.shop.example", True, OK, "by DKIM"),
            ("p=none", "b@relay.example", False, WARN, "DMARC fails"),
            ("p=none", "b@relay.example", True, OK, "by DKIM"),
        ],
    )
    def test_spf_counts_if_bounces_go_to_the_same_domain(
        self, policy: str, bounces: str, has_key: bool, status: FindingStatus, said: str
    ) -> None:
        """Or a subdomain, unless the policy is strict; else a signature has to do."""
        texts = {"_dmarc.shop.example": [f"v=DMARC1; {policy}"]}
        if has_key:
            texts["s1._domainkey.shop.example"] = ["v=DKIM1; p=MIGf"]
        chosen = sender(bounces=bounces, selectors=("s1",) if has_key else ())
        found = check(Answers(txt=texts), chosen)["alignment shop.example"]
        assert (found.status, said in found.detail) == (status, True), found


class TestReverseNames:
    """Names of the addresses from which email comes."""

    @pytest.mark.parametrize(
        ("answers", "host", "status"),
        [
            (Answers(hosts={HOST: [ADDRESS]}, names={ADDRESS: [HOST]}), HOST, OK),
            (Answers(hosts={HOST: [ADDRESS]}), HOST, WARN),
            (Answers(hosts={HOST: [ADDRESS]}, names={ADDRESS: ["other.example"]}), HOST, WARN),
            (Answers(hosts={HOST: ["10.0.0.1"]}), HOST, NOTE),
            (Answers(), HOST, NOTE),
            (Answers(hosts={"smtp.sendgrid.net": [ADDRESS]}), "smtp.sendgrid.net", NOTE),
        ],
    )
    def test_a_reverse_name_leads_back(self, answers: Answers, host: str, status: FindingStatus) -> None:
        """A private address, or a provider, has none of ours."""
        assert check(answers, host=host)[f"reverse name {host}"].status is status


def test_what_was_found_before_an_error_is_kept() -> None:
    """DNS may fail in the middle."""
    found = check(Answers(txt={"shop.example": ["v=spf1 -all"]}, broken="_dmarc.shop.example"))
    assert found["SPF shop.example"].status is OK
    assert found["dns"].status is FAIL


def test_of_a_domain_that_does_not_exist_nothing_more_is_said() -> None:
    """Of the others, all is."""
    found = check(Answers(missing=frozenset({"typo.example"})), sender(), sender("a@typo.example"))
    assert found["domain typo.example"].status is FAIL
    assert [name for name in found if "typo" in name] == ["domain typo.example"]
    assert "SPF shop.example" in found


def test_each_domain_is_asked_about_once() -> None:
    """However many senders it has."""
    answers: Any = Answers()
    check(answers, sender("a@shop.example"), sender("b@shop.example"))
    assert answers.asked.count("shop.example") == 1
