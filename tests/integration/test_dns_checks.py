"""`check-config --dns` against a real DNS server: each finding, with the record to add."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.checks.dns import check_dns
from mailctl.checks.finding import Finding, FindingStatus
from mailctl.cli.main import main
from mailctl.errors import ExitCode
from mailctl.settings import Settings
from tests.servers import DnsServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dns import Records

OK, WARN, FAIL, NOTE = FindingStatus.OK, FindingStatus.WARN, FindingStatus.FAIL, FindingStatus.SKIP
SENDERS = """
[senders.default]
bounce_address = "bounces@mail.shop.example"
dkim_selectors = ["s1"]
"""
#: All is well.
RECORDS: Records = {
    ("mail.shop.example", "TXT"): ['"v=spf1 include:_spf.relay.example -all"', '"other=1"'],
    ("_spf.relay.example", "TXT"): ['"v=spf1 ip4:198.51.100.0/24 " "-all"'],
    ("mail.shop.example", "MX"): ["20 mx2.shop.example.", "10 mx1.shop.example."],
    ("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; k=rsa; p=MIGf"'],
    ("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:d@shop.example"'],
    ("_smtp._tls.shop.example", "TXT"): ['"v=TLSRPTv1; rua=mailto:t@shop.example"'],
    ("smtp.shop.example", "A"): ["93.184.216.34"],
    ("34.216.184.93.in-addr.arpa", "PTR"): ["smtp.shop.example."],
}


def check(
    tmp_path: Path, records: Records | None = None, *, senders: str = SENDERS, host: str = "smtp.shop.example"
) -> dict[str, Finding]:
    """Return the findings by name; `records` change those of a domain where all is well."""
    path = tmp_path / "senders.toml"
    path.write_text(senders)
    settings = Settings(EMAIL_HOST=host, EMAIL_FROM_ADDRESS="noreply@shop.example", MAILCTL_SENDERS=path)
    changed = {key: value for key, value in {**RECORDS, **(records or {})}.items() if value}
    with DnsServer(changed) as server:
        return {finding.name: finding for finding in check_dns(settings, server=server.address)}


def test_a_domain_where_all_is_well(tmp_path: Path) -> None:
    """Each check says what it has found."""
    found = check(tmp_path)
    assert {name: finding.status for name, finding in found.items()} == {
        "SPF mail.shop.example": OK,
        "MX mail.shop.example": OK,
        "DKIM shop.example": OK,
        "DMARC shop.example": OK,
        "alignment shop.example": OK,
        "reports shop.example": NOTE,
        "reverse name smtp.shop.example": OK,
    }
    assert "1 of 10 DNS queries" in found["SPF mail.shop.example"].detail
    assert found["MX mail.shop.example"].detail == "mx1.shop.example, mx2.shop.example"
    assert found["DMARC shop.example"].detail == "p=reject, at _dmarc.shop.example"
    assert "TLS-RPT is set up; MTA-STS is not set up" in found["reports shop.example"].detail


_SPF, _DMARC = ("mail.shop.example", "TXT"), ("_dmarc.shop.example", "TXT")


@pytest.mark.parametrize(
    ("records", "name", "status", "said"),
    [
        ({_SPF: []}, "SPF mail.shop.example", WARN, 'TXT "v=spf1 a:smtp.shop.example ~all"'),
        ({_SPF: ['"v=spf1 -all"', '"v=spf1 ~all"']}, "SPF mail.shop.example", FAIL, "Merge them"),
        ({_SPF: ['"v=spf1 +all"']}, "SPF mail.shop.example", FAIL, "End it with ~all"),
        ({_SPF: ['"v=spf1 !!!"']}, "SPF mail.shop.example", FAIL, "Correct it"),
        (
            {_SPF: [f'"v=spf1 {" ".join(f"a:h{n}.example" for n in range(11))} -all"']},
            "SPF mail.shop.example", FAIL, "Remove includes",
        ),
        (
            # A record that includes itself must not be followed for ever.
            {_SPF: ['"v=spf1 include:loop.example -all"'],
             ("loop.example", "TXT"): ['"v=spf1 include:mail.shop.example include:loop.example -all"']},
            "SPF mail.shop.example", FAIL, "Remove includes",
        ),
        ({("mail.shop.example", "MX"): []}, "MX mail.shop.example", WARN, "Add: mail.shop.example MX"),
        ({("mail.shop.example", "MX"): ["0 ."]}, "MX mail.shop.example", WARN, "Add: mail.shop.example MX"),
        (
            {("s1._domainkey.shop.example", "TXT"): []},
            "DKIM shop.example", FAIL, "s1._domainkey.shop.example TXT v=DKIM1",
        ),
        (
            {("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; p="']},
            "DKIM shop.example", FAIL, "another selector",
        ),
        ({_DMARC: []}, "DMARC shop.example", WARN, '_dmarc.shop.example TXT "v=DMARC1; p=none; rua=mailto:'),
        ({_DMARC: ['"v=DMARC1; p=maybe"']}, "DMARC shop.example", FAIL, "p=none, p=quarantine or p=reject"),
        ({_DMARC: ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, "DMARC shop.example", FAIL, "Keep one"),
        (
            {("34.216.184.93.in-addr.arpa", "PTR"): []},
            "reverse name smtp.shop.example", WARN, "PTR smtp.shop.example",
        ),
        (
            {("34.216.184.93.in-addr.arpa", "PTR"): ["other.example."]},
            "reverse name smtp.shop.example", WARN, "other.example A 93.184.216.34",
        ),
    ],
)  # fmt: skip
def test_each_fault_has_the_record_to_add(
    tmp_path: Path, records: Records, name: str, status: FindingStatus, said: str
) -> None:
    """One fault at a time; the rest is as before."""
    found = check(tmp_path, records)[name]
    assert (found.status, said in found.fix) == (status, True), found


def test_the_servers_of_a_provider_must_be_included(tmp_path: Path) -> None:
    """Directly, or by a record that is included; such hosts need no reverse name of ours."""
    found = check(tmp_path, host="smtp.sendgrid.net")
    assert found["SPF mail.shop.example"].fix.startswith("Add include:sendgrid.net")
    nested = {("_spf.relay.example", "TXT"): ['"v=spf1 include:sendgrid.net -all"']}
    assert check(tmp_path, nested, host="smtp.sendgrid.net")["SPF mail.shop.example"].status is OK


def test_bounces_to_another_domain_leave_dkim_for_dmarc(tmp_path: Path) -> None:
    """Without a key that is known, DMARC fails."""
    senders = SENDERS.replace("mail.shop.example", "relay.example")
    assert "by DKIM" in check(tmp_path, senders=senders)["alignment shop.example"].detail
    unsigned = senders.replace('dkim_selectors = ["s1"]', "")
    none = {("s1._domainkey.shop.example", "TXT"): []}
    found = check(tmp_path, none, senders=unsigned)
    assert found["alignment shop.example"].status is WARN
    assert "unknown: selectors cannot be listed" in found["DKIM shop.example"].detail


def test_a_strict_policy_wants_the_same_domain(tmp_path: Path) -> None:
    """Bounces to a subdomain are then not aligned."""
    strict = {_DMARC: ['"v=DMARC1; p=reject; aspf=s"']}
    assert "by DKIM" in check(tmp_path, strict)["alignment shop.example"].detail


def test_a_domain_that_does_not_exist_is_not_one_without_records(tmp_path: Path) -> None:
    """Adding records to it would not help."""
    found = check(tmp_path, senders=SENDERS + '[senders.typo]\naddress = "a@shpo.example"\ntenants = ["t"]\n')
    assert found["domain shpo.example"].status is FAIL
    assert "does not exist" in found["domain shpo.example"].detail
    assert "SPF shpo.example" not in found
    assert found["SPF mail.shop.example"].status is OK


def test_dns_is_asked_only_after_a_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The domains of the senders are told to nobody by mistake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMAIL_FROM_ADDRESS", "noreply@shop.example")
    with DnsServer(RECORDS) as server:
        command = ["check-config", "--dns", "--dns-server", server.address]
        assert main(command) == ExitCode.REFUSED
        assert "Ask DNS about shop.example, localhost?" in capsys.readouterr().err
        assert server.questions == []
        main([*command, "--yes"])
    assert ("shop.example", "SOA") in server.questions
    assert "SPF shop.example" in capsys.readouterr().out


def test_a_dns_server_that_fails_is_said(tmp_path: Path) -> None:
    """What it answers about other names is found all the same."""
    found = check(tmp_path, {("mail.shop.example", "MX"): ["SERVFAIL"]})
    assert found["MX mail.shop.example"].status is FAIL
    assert (
        "MX of mail.shop.example failed: the server answers SERVFAIL" in found["MX mail.shop.example"].detail
    )
    assert found["SPF mail.shop.example"].status is found["DMARC shop.example"].status is OK
    assert "dns" not in found


def test_a_domain_whose_servers_fail_hides_no_other(tmp_path: Path) -> None:
    """Such as one whose DNSSEC is broken."""
    found = check(tmp_path, {("mail.shop.example", "SOA"): ["SERVFAIL"]}, senders=SENDERS + """
[senders.other]
address = "a@shop.example"
""")  # fmt: skip
    assert found["domain mail.shop.example"].status is FAIL
    assert found["SPF shop.example"].status is not FAIL


def test_a_silent_dns_server_ends_with_the_first_question() -> None:
    """The bound holds for each question, and another one for all together."""
    settings = Settings(EMAIL_HOST="127.0.0.1", EMAIL_FROM_ADDRESS="noreply@shop.example")
    with DnsServer(is_silent=True) as server:
        [found] = check_dns(settings, server=server.address, question_seconds=0.3)
        assert (found.status, "no answer in 0.3 s" in found.detail) == (FAIL, True)
        [found] = check_dns(settings, server=server.address, total_seconds=0.1)
    assert "did not answer all questions in 0.1 s" in found.detail


@pytest.mark.parametrize(
    "server", ["nobody", "127.0.0.1:0", "127.0.0.1:x", "[::1", "::1:99999999", "1.2.3.4.5"]
)
def test_a_wrong_server_is_refused(server: str) -> None:
    """Before anything is asked."""
    [found] = check_dns(Settings(), server=server)
    assert (found.status, "must be an IP address" in found.detail) == (FAIL, True)
