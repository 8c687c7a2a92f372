"""Which hosts a request may address."""

from __future__ import annotations

import tracemalloc

import pytest

from mailctl.web.hosts import hosts_from_setting, names_of_server

OWN = names_of_server("0.0.0.0")


@pytest.mark.parametrize(
    "header",
    ["localhost", "localhost:8025", "LOCALHOST", "127.0.0.1:8025", "[::1]:8025", "10.0.0.7", "[2001:db8::1]"],
)
def test_this_computer_and_addresses_are_always_allowed(header: str) -> None:
    """No other site can make its name one of them."""
    assert hosts_from_setting("", own=OWN).allows(header)
    assert hosts_from_setting("mail.example.com", own=None).allows(header)


@pytest.mark.parametrize(
    "header",
    [
        *("evil.example", "evil.example:8025", "localhost.evil.example", "127.0.0.1.evil.example", ""),
        *("mail.example.com@evil.example", "mail.example.com evil", "mail.example.com/", "[evil.example]"),
        *("mail.example.com:80:80", "xmail.example.com", "example.com", "mail.example.com\0"),
    ],
)
def test_other_names_are_not(header: str) -> None:
    """Also if they contain one that is."""
    assert not hosts_from_setting("mail.example.com", own=OWN).allows(header)


def test_a_header_without_end_takes_no_memory() -> None:
    """Its parents are as many as its dots, and each is nearly as long; nobody needs a key to send it."""
    hosts, header = hosts_from_setting("*.example.com", own=OWN), "a." * 8000 + "example.com"
    tracemalloc.start()
    allowed = hosts.allows(header)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not allowed
    assert peak < 1024 * 1024


@pytest.mark.parametrize(
    ("setting", "header", "is_allowed"),
    [
        ("mail.example.com", "Mail.Example.com.:443", True),
        (" a.example , b.example ", "b.example", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", f"{'a.' * 120}example.com.:65535", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*", "evil.example", True),
    ],
)
def test_the_setting_adds_names(setting: str, header: str, is_allowed: bool) -> None:
    """Or subdomains, or all of them."""
    assert hosts_from_setting(setting, own=OWN).allows(header) == is_allowed


def test_a_service_decides_for_itself() -> None:
    """Unless the setting names some."""
    assert hosts_from_setting("", own=None).allows("anything.example")
    assert not hosts_from_setting("mail.example.com", own=None).allows("anything.example")
