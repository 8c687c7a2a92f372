"""The links of an email: the same in both bodies, and with the time for which they work."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.domain.catalog import NEW_IP, RESET, VERIFICATION, WELCOME, Kind
from mailctl.domain.models import Content
from mailctl.domain.samples import sample_content
from mailctl.domain.validation import MAX_TOKEN
from tests.tokens import hs256
from tests.unit.rendering.composing import CREATED, Hrefs, compose, read, user


@pytest.mark.parametrize("kind", [RESET, VERIFICATION, NEW_IP], ids=lambda kind: kind.name)
def test_a_link_is_the_same_in_both_bodies_and_in_the_envelope(kind: Kind) -> None:
    """The plain text holds the link unescaped, on a line of its own, equal to the href."""
    envelope = compose(kind)
    mail = read(envelope)
    hrefs = Hrefs(mail.html).found
    assert list(envelope.links) == [link.variable for link in kind.links]
    for url in envelope.links.values():
        assert url in mail.text.splitlines()
        assert url in hrefs


def test_a_ready_made_link_is_used_as_it_is() -> None:
    """`&` is escaped in HTML and nowhere else, and the time counts from when the link was made."""
    url = "https://app.example.com/reset?token=abc&uid=1"
    envelope = compose(RESET, Content(user=user(), urls={"reset_url": url}))
    mail = read(envelope)
    assert url in mail.text.splitlines()
    assert f'href="{url.replace("&", "&amp;")}"' in mail.html
    assert "24 November 2026, 14:00 UTC" in mail.text


@pytest.mark.parametrize(
    ("kind", "expires_in", "expires_at"),
    [
        (RESET, "1 hour", "24 November 2026, 14:05 UTC"),
        (VERIFICATION, "24 hours", "25 November 2026, 13:05 UTC"),
        (NEW_IP, "24 hours", "25 November 2026, 13:05 UTC"),
    ],
    ids=["reset", "verification", "new-ip"],
)
def test_the_reader_learns_how_long_links_work(kind: Kind, expires_in: str, expires_at: str) -> None:
    """Minted links live from the moment of sending."""
    text = " ".join(read(compose(kind)).text.split())
    assert f"{expires_in}, until {expires_at}" in text


@pytest.mark.parametrize(
    ("token", "expires_in", "expires_at"),
    [
        ("an-opaque-token", "55 minutes", "24 November 2026, 14:00 UTC"),
        (hs256({}, exp=CREATED + timedelta(minutes=30)), "25 minutes", "24 November 2026, 13:30 UTC"),
        (hs256({}, exp=CREATED + timedelta(hours=9)), "55 minutes", "24 November 2026, 14:00 UTC"),
    ],
    ids=["opaque", "short JWT", "long JWT"],
)
def test_the_reader_learns_how_long_a_token_of_the_service_works(
    token: str, expires_in: str, expires_at: str
) -> None:
    """From when it was given; the `exp` of a JWT shortens that and never lengthens it."""
    content = replace(sample_content(RESET), tokens={"token": token})
    text = " ".join(read(compose(RESET, content)).text.split())
    assert f"{expires_in}, until {expires_at}" in text
    assert f"https://app.example.com/reset-password?t={token}" in text


def test_the_longest_token_arrives_whole() -> None:
    """Whatever mail servers do to long lines; each character of this one is percent-encoded."""
    content = replace(sample_content(RESET), tokens={"token": "+" * MAX_TOKEN})
    mail = read(compose(RESET, content))
    url = f"https://app.example.com/reset-password?t={'%2B' * MAX_TOKEN}"
    assert url in mail.text.splitlines()
    assert url in Hrefs(mail.html).found


def test_a_welcome_leads_to_the_front_page() -> None:
    """A welcome email needs nothing but its user."""
    assert compose(WELCOME).links == {"action_url": "https://app.example.com"}
