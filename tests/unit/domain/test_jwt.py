"""The expiry of JSON Web Tokens is read without verifying them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from mailctl.domain.jwt import unverified_expiry, unverified_expiry_in_url
from tests.tokens import hs256, rs256

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def encoded(payload: bytes) -> str:
    """Return a token with any payload."""
    return f"eyJhbGciOiJIUzI1NiJ9.{urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize("make", [hs256, rs256])
def test_a_token_says_when_it_expires(make: type) -> None:
    """Whatever its algorithm."""
    assert unverified_expiry(make({"sub": "1"}, exp=NOW)) == NOW
    assert unverified_expiry(make({"sub": "1"})) is None


def test_an_expiry_may_have_a_fraction() -> None:
    """NumericDate allows it (RFC 7519 section 2)."""
    token = hs256({"exp": NOW.timestamp() + 0.5})
    assert unverified_expiry(token) == NOW + timedelta(seconds=0.5)


@pytest.mark.parametrize(
    "token",
    [
        "an-opaque-token",
        "three.dotted.words",
        encoded(b"not JSON"),
        encoded(b"[1, 2]"),
        encoded(b"7"),
        encoded(b'{"exp": "soon"}'),
        encoded(b'{"exp": true}'),
        encoded(b'{"exp": null}'),
        encoded(b'{"exp": 1e300}'),
        encoded(b'{"exp": NaN}'),
        encoded(b'{"exp": -1e18}'),
        encoded(b"[" * 1400),
        encoded(b"\xff\xfe"),
        "a.b.c",
        "..",
        "",
    ],
)
def test_other_texts_have_no_expiry(token: str) -> None:
    """A token may be anything; nothing fails because of it."""
    assert unverified_expiry(token) is None
    assert unverified_expiry_in_url(f"https://www.shop.example/reset?t={token}") is None


@pytest.mark.parametrize(
    "url",
    ["https://www.shop.example/reset?t={}&u=1", "https://shop.example/r/{}/x", "https://s.example/#/r/{}"],
)
def test_a_token_in_a_url_is_found(url: str) -> None:
    """In the query, the path or the fragment, percent-encoded or not."""
    token = hs256({}, exp=NOW)
    assert unverified_expiry_in_url(url.format(token)) == NOW
    assert unverified_expiry_in_url(url.format(quote(token.replace(".", "%2E"), safe="%"))) == NOW
