"""Links for unsubscribing: nobody can make one for another recipient or kind."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from mailctl.errors import ConfigurationError
from mailctl.security.keyring import Keyring
from mailctl.security.links import InvalidLink
from mailctl.security.unsubscribe_links import Subscription, UnsubscribeLinks, unsubscribe_url_from_settings
from mailctl.settings import Settings

URL = "https://shop.example/mail/unsubscribe"
LINKS = UnsubscribeLinks(Keyring(["a-secret-key-for-tests"]), url=URL)
SUBSCRIPTION = Subscription(address="zoe@example.com", kind="newsletter", email_id="e1")


def token(link: str) -> str:
    """Return the token of a link."""
    return parse_qs(urlsplit(link).query)["t"][0]


def test_a_link_says_who_unsubscribes_from_what() -> None:
    """The token holds it all, and shows none of it."""
    link = LINKS.make(SUBSCRIPTION)

    assert link.startswith(f"{URL}?t=")
    assert "zoe" not in link
    assert LINKS.open(token(link)) == SUBSCRIPTION


def test_a_link_outlives_a_rotation_of_the_key() -> None:
    """Recipients unsubscribe from emails that are months old."""
    link = LINKS.make(SUBSCRIPTION)
    rotated = UnsubscribeLinks(Keyring(["a-new-secret-key", "a-secret-key-for-tests"]), url=URL)

    assert rotated.open(token(link)) == SUBSCRIPTION


@pytest.mark.parametrize("change", ["", "x", "é", "A" * 3000, "short", "another key", "another purpose"])
def test_a_forged_link_is_refused(change: str) -> None:
    """Altered, of another key, or made for another purpose."""
    good = token(LINKS.make(SUBSCRIPTION))
    keyring = Keyring(["another-key-for-tests" if change == "another key" else "a-secret-key-for-tests"])
    forged = {
        "x": good[:-1] + ("A" if good[-1] != "A" else "B"),
        "short": good[:40],
        "another key": token(UnsubscribeLinks(keyring, url=URL).make(SUBSCRIPTION)),
        "another purpose": keyring.seal_text(b'["zoe@example.com","newsletter","e1"]', purpose="link/reset"),
    }

    with pytest.raises(InvalidLink):
        LINKS.open(forged.get(change, change))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        ("https://shop.example/mail/unsubscribe/", "https://shop.example/mail/unsubscribe"),
        ("http://localhost:8025/unsubscribe", "http://localhost:8025/unsubscribe"),
    ],
)
def test_the_address_of_the_endpoint_is_validated(text: str, url: str) -> None:
    """No slash at its end; http for this computer only."""
    assert unsubscribe_url_from_settings(Settings(MAILCTL_UNSUBSCRIBE_URL=text)) == url


@pytest.mark.parametrize("text", ["shop.example", "http://shop.example/u", "https://shop.example/u?x=1"])
def test_another_address_is_refused(text: str) -> None:
    """RFC 8058 asks for https, and a query would end in the token."""
    with pytest.raises(ConfigurationError, match="MAILCTL_UNSUBSCRIBE_URL"):
        unsubscribe_url_from_settings(Settings(MAILCTL_UNSUBSCRIBE_URL=text))
