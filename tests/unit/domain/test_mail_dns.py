"""Records of SPF, DKIM and DMARC are read as receivers read them."""

from __future__ import annotations

import pytest

from mailctl.domain import mail_dns


def test_spf_records_are_told_from_other_texts() -> None:
    """A version that only begins alike is none (RFC 7208 section 4.5)."""
    texts = ["v=spf1 -all", "V=SPF1", "v=spf10 -all", "google-site-verification=x"]
    assert mail_dns.spf_records(texts) == ["v=spf1 -all", "V=SPF1"]


def test_spf_terms_have_qualifier_name_and_value() -> None:
    """Prefix lengths and modifiers, too."""
    terms = mail_dns.parse_spf(
        "v=spf1 a mx/24 ip4:192.0.2.0/24 include:_spf.x.example ?all redirect=y.example"
    )
    assert terms is not None
    assert [(term.qualifier, term.name, term.value) for term in terms] == [
        ("+", "a", ""),
        ("+", "mx", ""),
        ("+", "ip4", "192.0.2.0"),
        ("+", "include", "_spf.x.example"),
        ("?", "all", ""),
        ("+", "redirect", "y.example"),
    ]
    assert [term.name for term in terms if term.causes_query] == ["a", "mx", "include", "redirect"]
    assert [term.included for term in terms if term.included] == ["_spf.x.example", "y.example"]


@pytest.mark.parametrize(
    ("record", "is_readable"),
    [
        ("v=spf1 !all", False),
        ("v=spf1 ipv4:192.0.2.1 -all", False),
        ("v=spf1 includes:x.example -all", False),
        ("v=spf1 ip4:mail.example -all", False),
        ("v=spf1 ip4:2001:db8::1 -all", False),
        ("v=spf1 ip4 -all", False),
        ("v=spf1 -redirect=x.example", False),
        ("v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/24 -all", True),
        ("v=spf1 a:%{d} ra=postmaster exp=why.example -all", True),
    ],
)
def test_a_record_with_an_unknown_mechanism_is_not_readable(record: str, is_readable: bool) -> None:
    """Receivers then act as if there was none; modifiers that they do not know they ignore."""
    assert (mail_dns.parse_spf(record) is not None) is is_readable


@pytest.mark.parametrize(
    ("host", "record"),
    [
        ("email-smtp.eu-west-1.amazonaws.com", "v=spf1 include:amazonses.com ~all"),
        ("smtp.sendgrid.net", "v=spf1 include:sendgrid.net ~all"),
        ("smtp.office365.com.", "v=spf1 include:spf.protection.outlook.com ~all"),
        ("mail.shop.example", "v=spf1 a:mail.shop.example ~all"),
        ("192.88.98.7", "v=spf1 ip4:192.88.98.7 ~all"),
        ("2a00:1450::7", "v=spf1 ip6:2a00:1450::7 ~all"),
        ("127.0.0.1", "v=spf1 mx ~all"),
        ("localhost", "v=spf1 mx ~all"),
        ("notsendgrid.net", "v=spf1 a:notsendgrid.net ~all"),
    ],
)
def test_the_suggested_record_is_that_of_the_provider(host: str, record: str) -> None:
    """Or names the host itself, by its address if it has no name; others cannot reach a loopback address."""
    assert mail_dns.suggested_spf(host) == record


def test_a_dmarc_record_has_one_of_three_policies() -> None:
    """Spaces do not matter."""
    assert mail_dns.dmarc_records(["v=DMARC1; p=none", "v=spf1", "v = DMARC1;p=x"]) == [
        "v=DMARC1; p=none",
        "v = DMARC1;p=x",
    ]
    policies = [mail_dns.dmarc_policy(f"v=DMARC1; {tags}") for tags in ("p=Reject; rua=a", "p=", "rua=a")]
    assert policies == ["reject", None, None]


def test_an_empty_key_is_a_revoked_one() -> None:
    """RFC 6376 section 3.6.1."""
    texts = ("v=DKIM1; k=rsa; p=MIGf", "v=DKIM1; p=", "hello")
    assert [mail_dns.is_dkim_key(text) for text in texts] == [True, None, False]


@pytest.mark.parametrize(
    ("other", "policies", "strict", "is_aligned"),
    [
        ("shop.example", ("shop.example", "shop.example"), True, True),
        ("mail.shop.example", ("shop.example", "shop.example"), False, True),
        ("mail.shop.example", ("shop.example", "shop.example"), True, False),
        ("mail.shop.example", ("shop.example", None), False, True),
        ("provider.example", ("shop.example", "provider.example"), False, False),
        ("provider.example", ("shop.example", None), False, False),
        ("myshop.example", ("shop.example", None), False, False),
    ],
)
def test_alignment_follows_the_domain_of_the_policy(
    other: str, policies: tuple[str | None, str | None], *, strict: bool, is_aligned: bool
) -> None:
    """So that no list of public suffixes is needed."""
    assert mail_dns.is_aligned("shop.example", other, policy_domains=policies, strict=strict) is is_aligned


def test_a_policy_is_looked_for_at_the_parents() -> None:
    """But never at a top-level domain."""
    assert mail_dns.parents("a.b.shop.example") == ["a.b.shop.example", "b.shop.example", "shop.example"]
    assert mail_dns.parents("localhost") == ["localhost"]
