"""When the links of an email expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailctl.domain.catalog import NEW_IP, RESET, WELCOME
from mailctl.domain.link_expiry import (
    given_links_expiry,
    links_expiry,
    refuse_expiring_links,
    undated_links_lifetime,
)
from mailctl.domain.models import Content, User
from mailctl.errors import InvalidInput
from tests.tokens import hs256

GIVEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = GIVEN + timedelta(minutes=20)
USER = User(email="zoe@example.com")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def reset(token: str = "", url: str = "") -> Content:
    """Return a password reset with a token or a URL of the service."""
    tokens, urls = ({"token": token} if token else {}), ({"reset_url": url} if url else {})
    return Content(user=USER, tokens=tokens, urls=urls)


def jwt(after: timedelta) -> str:
    """Return a token that expires so long after it was given."""
    return hs256({"sub": "7"}, exp=GIVEN + after)


@pytest.mark.parametrize(
    ("content", "are_sealed", "expiry"),
    [
        (reset(), False, None),
        (reset("an-opaque-token"), False, GIVEN + HOUR),
        (reset(jwt(15 * MINUTE)), False, GIVEN + 15 * MINUTE),
        (reset(jwt(15 * HOUR)), False, GIVEN + HOUR),
        (reset("an-opaque-token"), True, None),
        (reset(jwt(15 * MINUTE)), True, GIVEN + 15 * MINUTE),
        (reset(url="https://shop.example/r?t=opaque"), True, GIVEN + HOUR),
        (reset(url=f"https://shop.example/r?t={jwt(5 * MINUTE)}"), False, GIVEN + 5 * MINUTE),
    ],
)
def test_a_jwt_shortens_the_life_of_a_link_and_never_lengthens_it(
    content: Content, are_sealed: bool, expiry: datetime | None
) -> None:
    """Without one, the lifetime of the kind counts, from when the token was given."""
    assert given_links_expiry(RESET, content, given_at=GIVEN, are_sealed=are_sealed) == expiry


@pytest.mark.parametrize(
    ("content", "lifetime"),
    [
        (reset(), None),
        (reset("an-opaque-token"), HOUR),
        (reset(jwt(15 * MINUTE)), None),
        (reset(hs256({"sub": "7"})), HOUR),
        (reset(url="https://shop.example/r?t=opaque"), HOUR),
        (reset(url=f"https://shop.example/r?t={jwt(5 * MINUTE)}"), None),
    ],
)
def test_a_token_that_states_no_end_has_the_lifetime_of_its_kind(
    content: Content, lifetime: timedelta | None
) -> None:
    """A random token, and a JWT without `exp`."""
    assert undated_links_lifetime(RESET, content) == lifetime


def test_the_link_that_expires_first_counts() -> None:
    """An email has one time at which its links expire."""
    content = Content(
        user=USER, tokens={"whitelist_token": "an-opaque-token", "blacklist_token": jwt(2 * HOUR)}
    )
    assert given_links_expiry(NEW_IP, content, given_at=GIVEN, are_sealed=False) == GIVEN + 2 * HOUR


def test_links_that_are_made_now_live_from_now() -> None:
    """Those that came with the email have lived since then."""
    urls = {"reset_url": "https://shop.example/r?t=made"}
    made = links_expiry(RESET, reset(), urls, given_at=GIVEN, now=NOW, are_sealed=False)
    given = links_expiry(RESET, reset("an-opaque-token"), urls, given_at=GIVEN, now=NOW, are_sealed=False)
    sealed = links_expiry(RESET, reset("an-opaque-token"), urls, given_at=GIVEN, now=NOW, are_sealed=True)
    assert (made, given, sealed) == (NOW + HOUR, GIVEN + HOUR, NOW + HOUR)
    assert links_expiry(WELCOME, reset(), {}, given_at=GIVEN, now=NOW, are_sealed=False) is None


def test_a_jwt_that_the_service_makes_now_counts_too() -> None:
    """Of MAILCTL_LINK_MINT."""
    urls = {"reset_url": f"https://shop.example/r?t={jwt(30 * MINUTE)}"}
    expiry = links_expiry(RESET, reset(), urls, given_at=GIVEN, now=NOW, are_sealed=False)
    assert expiry == GIVEN + 30 * MINUTE


@pytest.mark.parametrize(
    ("content", "sent_at", "field"),
    [
        (reset(jwt(-MINUTE)), GIVEN, "token"),
        (reset(jwt(timedelta(seconds=30))), GIVEN, "token"),
        (reset(jwt(30 * MINUTE)), GIVEN + HOUR, "token"),
        (reset("an-opaque-token"), GIVEN + HOUR, "token"),
        (reset(url="https://shop.example/r?t=opaque"), GIVEN + 2 * HOUR, "reset_url"),
    ],
)
def test_a_link_that_would_be_dead_on_arrival_is_refused(
    content: Content, sent_at: datetime, field: str
) -> None:
    """The caller learns it, instead of the reader."""
    with pytest.raises(InvalidInput, match="expires too early") as caught:
        refuse_expiring_links(RESET, content, given_at=GIVEN, sent_at=sent_at, are_sealed=False)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("content", "sent_at", "are_sealed"),
    [
        (reset(jwt(2 * MINUTE)), GIVEN, False),
        (reset("an-opaque-token"), GIVEN, False),
        (reset("an-opaque-token"), GIVEN + 24 * HOUR, True),
        (reset(), GIVEN + 24 * HOUR, False),
    ],
)
def test_other_links_are_accepted(content: Content, sent_at: datetime, are_sealed: bool) -> None:
    """Also for a later time, if mailctl makes or seals the link then."""
    refuse_expiring_links(RESET, content, given_at=GIVEN, sent_at=sent_at, are_sealed=are_sealed)
