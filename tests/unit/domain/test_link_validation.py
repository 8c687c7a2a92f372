"""Validation of links: they lead to an origin of the service, whoever parses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain import link_validation
from mailctl.errors import InvalidInput

ORIGINS = frozenset({"https://app.example.com"})


@pytest.mark.parametrize(
    "value",
    [
        "https://app.example.com/../admin",
        "https://app.example.com/a/./b",
        "https://app.example.com/%2e%2e/admin",
        "https://APP.example.com.evil.com/",
        "https://app.example.com@evil.com/",
        "https://app.example.com:443@evil.com/",
        "//app.example.com/x",
        "https:app.example.com",
        "https:///app.example.com",
        "HTTPS://evil.com",
        "https://app.example.com/" + "a" * 8000,
        "https://[::1/",
        'https://app.example.com/"onmouseover=alert(1)',
        "https://app.example.com/<script>",
    ],
)
def test_ambiguous_links_are_refused(value: str) -> None:
    """If parsers could disagree about the origin."""
    with pytest.raises(InvalidInput):
        link_validation.validate_action_url(value, origins=ORIGINS)


@pytest.mark.parametrize(
    "value", ["https://app.example.com:443/x", "HTTPS://app.example.com/x", "https://APP.EXAMPLE.com/x"]
)
def test_one_origin_has_several_spellings(value: str) -> None:
    """Scheme and host are case-insensitive, and the default port is optional."""
    assert link_validation.validate_action_url(value, origins=ORIGINS) == value


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.com/path?x", "https://example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://example.com:80", "http://example.com"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443"),
    ],
)
def test_origins_are_compared_in_one_form(url: str, origin: str) -> None:
    """Scheme, host and port, and nothing else (RFC 6454)."""
    assert link_validation.url_origin(url) == origin


@given(st.text(max_size=60))
def test_a_valid_link_leads_to_its_origin(rest: str) -> None:
    """Whatever follows the origin."""
    try:
        url = link_validation.validate_action_url(f"https://app.example.com{rest}", origins=ORIGINS)
    except InvalidInput:
        return
    assert link_validation.url_origin(url) == "https://app.example.com"
    assert url.isascii()
    assert not set(url) & set(' <>"\\\r\n\t')
