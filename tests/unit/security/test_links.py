"""Action links are created, verified and bound to their purpose."""

from __future__ import annotations

import base64
import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, NEW_IP, RESET, VERIFICATION, Kind
from mailctl.domain.models import Content, User
from mailctl.domain.samples import SAMPLE_TOKEN
from mailctl.domain.validation import MAX_TOKEN
from mailctl.errors import ConfigurationError
from mailctl.security.links import (
    CLOCK_SKEW_SECONDS,
    InvalidLink,
    LinkClaims,
    LinkRequest,
    Links,
    link_origins,
    links_problem,
)
from mailctl.settings import Settings
from tests.tokens import hs256
from tests.unbound_seals import seal_unbound

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = Settings(secret_key="a secret", frontend_url="https://app.example.com")
LINKS = Links(SETTINGS)
SEALING = Links(SETTINGS.model_copy(update={"mailctl_link_tokens": "sealed"}))
MINT = "tests.unit.security.test_links:mint_by_user"
USER = User(id="42", email="u@example.com", username="u")
PURPOSES = {link.purpose: kind for kind in BUILT_IN_KINDS.values() for link in kind.links}


def claims(purpose: str = "reset-password", *, expires_at: datetime = NOW) -> LinkClaims:
    return LinkClaims(
        purpose=purpose,
        user_id="42",
        email="u@example.com",
        action=None,
        expires_at=expires_at,
        token="t" * 20,
    )


SEALED = LINKS.seal(claims())
BASE64URL = f"{string.ascii_letters}{string.digits}-_"


def t_of(url: str) -> str:
    [t] = parse_qs(urlsplit(url).query)["t"]
    return t


def mint_by_user(request: LinkRequest) -> str:
    """A service's own maker of tokens."""
    return f"{request.purpose}/{request.user.id}+=:~"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_link_returns_its_content(purpose: str) -> None:
    """Purpose, user, address, token and expiry."""
    assert LINKS.verify(LINKS.seal(claims(purpose)), purpose=purpose, now=NOW) == claims(purpose)


@pytest.mark.parametrize(
    ("kind", "links"),
    [
        (RESET, {"reset_url": ("/reset-password", "reset-password", None, timedelta(hours=1))}),
        (VERIFICATION, {"verification_url": ("/verify-email", "verify-email", None, timedelta(hours=24))}),
        (
            NEW_IP,
            {
                "whitelist_url": (
                    "/api/v1/ip-access/verify",
                    "ip-whitelist",
                    "whitelist",
                    timedelta(hours=24),
                ),
                "blacklist_url": (
                    "/api/v1/ip-access/verify",
                    "ip-blacklist",
                    "blacklist",
                    timedelta(hours=24),
                ),
            },
        ),
    ],
)
def test_each_kind_has_its_links(
    kind: Kind, links: dict[str, tuple[str, str, str | None, timedelta]]
) -> None:
    """At the paths of the web service, for their lifetime."""
    urls = LINKS.make_urls(kind, Content(user=USER), now=NOW)
    assert urls.keys() == links.keys()
    for variable, (path, purpose, action, lifetime) in links.items():
        assert urls[variable].startswith(f"https://app.example.com{path}?t=")
        read = LINKS.verify(t_of(urls[variable]), purpose=purpose, now=NOW)
        assert (read.user_id, read.email, read.action) == ("42", "u@example.com", action)
        assert read.expires_at == NOW + lifetime


@pytest.mark.parametrize("token", ["good-token", "a+b/c=d:e~f.g", hs256({"sub": "7"}), "t" * MAX_TOKEN])
def test_a_token_of_the_service_is_passed_on_as_it_is(token: str) -> None:
    """Its endpoints read what they have made."""
    content = Content(user=USER, tokens={"whitelist_token": token, "blacklist_token": "bad-token"})
    for settings in (SETTINGS, SETTINGS.model_copy(update={"mailctl_link_mint": MINT})):
        urls = Links(settings).make_urls(NEW_IP, content, now=NOW)
        assert (t_of(urls["whitelist_url"]), t_of(urls["blacklist_url"])) == (token, "bad-token")


@pytest.mark.parametrize("token", ["good-token", "t" * MAX_TOKEN])
def test_tokens_of_the_service_can_be_sealed(token: str) -> None:
    """Then `verify` reads them."""
    content = Content(user=USER, tokens={"whitelist_token": token, "blacklist_token": "bad-token"})
    urls = SEALING.make_urls(NEW_IP, content, now=NOW)
    assert SEALING.verify(t_of(urls["whitelist_url"]), purpose="ip-whitelist", now=NOW).token == token
    assert SEALING.verify(t_of(urls["blacklist_url"]), purpose="ip-blacklist", now=NOW).token == "bad-token"


def test_a_link_to_the_path_of_the_service_works() -> None:
    """Whoever makes its token."""
    settings = SETTINGS.model_copy(update={"mailctl_link_paths": "reset-password=/r/{token}"})
    content = Content(user=USER, tokens={"token": "good-token"})
    links = Links(settings)
    assert links.make_urls(RESET, content, now=NOW) == {"reset_url": "https://app.example.com/r/good-token"}
    made = links.make_urls(RESET, Content(user=USER), now=NOW)["reset_url"]
    sealed = unquote(made.removeprefix("https://app.example.com/r/"))
    assert links.verify(sealed, purpose="reset-password", now=NOW).user_id == "42"


def test_links_of_a_preview_grant_access_to_nothing() -> None:
    """They lead to the real page, with a token that is not valid."""
    settings = SETTINGS.model_copy(update={"mailctl_link_paths": "verify-email=/v/{token}"})
    assert Links(settings).sample_urls(RESET) == {
        "reset_url": f"https://app.example.com/reset-password?t={SAMPLE_TOKEN}"
    }
    assert Links(settings).sample_urls(VERIFICATION) == {
        "verification_url": f"https://app.example.com/v/{SAMPLE_TOKEN}"
    }


def test_without_a_token_each_link_has_a_random_one() -> None:
    """A new one for each attempt."""
    first, second = (
        LINKS.verify(t_of(url), purpose="reset-password", now=NOW).token
        for url in (LINKS.make_urls(RESET, Content(user=USER), now=NOW)["reset_url"] for _ in range(2))
    )
    assert first != second
    assert len(first) >= 24


def test_a_link_of_another_program_is_kept() -> None:
    """That program can read it."""
    content = Content(user=USER, urls={"reset_url": "https://app.example.com/x"})
    assert LINKS.make_urls(RESET, content, now=NOW) == {"reset_url": "https://app.example.com/x"}


def test_the_address_is_not_readable_in_a_link() -> None:
    """Links appear in histories and logs."""
    assert b"example" not in base64.urlsafe_b64decode(SEALED)


def test_a_slash_at_the_end_of_frontend_url_is_ignored() -> None:
    """Both spellings are common."""
    settings = Settings(secret_key="a secret", frontend_url="https://app.example.com/")
    url = Links(settings).make_urls(RESET, Content(user=USER), now=NOW)["reset_url"]
    assert url.startswith("https://app.example.com/reset-password?t=")


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_changed_bit_makes_a_link_invalid(position: int, bit: int) -> None:
    """In any byte."""
    raw = bytearray(base64.urlsafe_b64decode(SEALED))
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(InvalidLink):
        LINKS.verify(base64.urlsafe_b64encode(bytes(raw)).decode(), purpose="reset-password", now=NOW)


@given(st.integers(min_value=0, max_value=len(SEALED) - 1))
@example(0)
def test_a_part_of_a_link_is_invalid(length: int) -> None:
    """A mail client may cut a link."""
    with pytest.raises(InvalidLink):
        LINKS.verify(SEALED[:length], purpose="reset-password", now=NOW)


@given(st.text(max_size=300))
def test_other_text_is_not_a_link(noise: str) -> None:
    """The error is the same as for an altered link."""
    with pytest.raises(InvalidLink, match="not valid"):
        LINKS.verify(noise, purpose="reset-password", now=NOW)


@given(st.sampled_from(sorted(PURPOSES)), st.sampled_from(sorted(PURPOSES)) | st.text(max_size=40))
def test_a_link_is_invalid_for_any_other_purpose(made_for: str, used_for: str) -> None:
    """One that allows an address cannot block it or reset a password."""
    assume(used_for != made_for)
    with pytest.raises(InvalidLink, match="not valid"):
        LINKS.verify(LINKS.seal(claims(made_for)), purpose=used_for, now=NOW)


@given(st.integers(min_value=-(10**6), max_value=10**6))
def test_a_link_expires(seconds: int) -> None:
    """With tolerance for the difference of two clocks."""
    now = NOW + timedelta(seconds=seconds)
    if seconds <= CLOCK_SKEW_SECONDS:
        assert LINKS.verify(SEALED, purpose="reset-password", now=now).expires_at == NOW
    else:
        with pytest.raises(InvalidLink, match="expired"):
            LINKS.verify(SEALED, purpose="reset-password", now=now)


def test_expiry_is_checked_with_the_system_clock_by_default() -> None:
    """As the web service does."""
    later = datetime.now(UTC) + timedelta(hours=1)
    assert LINKS.verify(LINKS.seal(claims(expires_at=later)), purpose="reset-password").email == USER.email
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with pytest.raises(InvalidLink, match="expired"):
        LINKS.verify(LINKS.seal(claims(expires_at=long_ago)), purpose="reset-password")


def test_links_survive_a_key_rotation() -> None:
    """While MAILCTL_SECRET_KEYS_OLD contains the earlier key."""
    rotated = Settings(secret_key="a new secret", mailctl_secret_keys_old='["even older", "a secret"]')
    assert Links(rotated).verify(SEALED, purpose="reset-password", now=NOW) == claims()
    with pytest.raises(InvalidLink):
        Links(Settings(secret_key="a new secret")).verify(SEALED, purpose="reset-password", now=NOW)


def test_links_of_an_earlier_version_are_valid_until_they_expire() -> None:
    """They are in emails that were sent before the upgrade; for another purpose they open nothing."""
    body = {"u": USER.id, "e": USER.email, "a": None, "x": int(NOW.timestamp()) + 60, "k": "token"}
    sealed = seal_unbound(json.dumps(body).encode(), secret="a secret", purpose="link/reset-password")
    t = base64.urlsafe_b64encode(sealed).decode()
    assert LINKS.verify(t, purpose="reset-password", now=NOW).email == USER.email
    with pytest.raises(InvalidLink, match="expired"):
        LINKS.verify(t, purpose="reset-password", now=NOW + timedelta(hours=1))
    with pytest.raises(InvalidLink, match="not valid"):
        LINKS.verify(t, purpose="verify-email", now=NOW)


def test_a_service_may_create_links_itself() -> None:
    """The value of its function is encoded into the URL."""
    settings = Settings(
        frontend_url="https://app.example.com",
        mailctl_link_mint=MINT,
    )
    url = Links(settings).make_urls(RESET, Content(user=USER), now=NOW)["reset_url"]
    assert url == "https://app.example.com/reset-password?t=reset-password%2F42%2B%3D%3A~"


def test_the_function_of_the_service_must_exist() -> None:
    """The error comes before the first email."""
    with pytest.raises(ConfigurationError, match="MAILCTL_LINK_MINT"):
        Links(Settings(mailctl_link_mint="no.such.module:mint"))


@pytest.mark.parametrize(
    ("kind", "content", "sealed", "is_new"),
    [
        ("welcome", Content(user=USER), False, False),
        ("email", Content(user=USER, template="message"), False, False),
        (
            "reset",
            Content(user=USER, template="reset", urls={"reset_url": "https://a.example"}),
            False,
            False,
        ),
        ("reset", Content(user=USER), False, True),
        ("reset", Content(user=USER, urls={"reset_url": "https://a.example"}), False, False),
        ("reset", Content(user=USER, tokens={"token": "a-token-of-the-service"}), False, False),
        ("reset", Content(user=USER, tokens={"token": "a-token-of-the-service"}), True, True),
        ("new-ip", Content(user=USER, tokens={"whitelist_token": "a-token-of-the-service"}), False, True),
    ],
)
def test_only_links_that_are_made_are_new(kind: str, content: Content, sealed: bool, is_new: bool) -> None:
    """Those of the caller, and with the caller's own tokens, are the same each time."""
    links = Links(Settings(mailctl_link_tokens="sealed" if sealed else "as-given"))
    kinds = {**BUILT_IN_KINDS, GENERIC.name: GENERIC}
    assert links.makes_new(kinds[kind], content) is is_new


def test_links_of_other_programs_may_lead_to_configured_origins() -> None:
    """FRONTEND_URL and MAILCTL_LINK_ORIGINS."""
    settings = Settings(
        frontend_url="https://app.example.com/base/",
        mailctl_link_origins="https://www.example.com/x, http://localhost:3000,",
    )
    assert link_origins(settings) == {
        "https://app.example.com",
        "https://www.example.com",
        "http://localhost:3000",
    }


@pytest.mark.parametrize("name", ["frontend_url", "mailctl_link_origins"])
@pytest.mark.parametrize(
    "value",
    [
        *("app.example.com", "ftp://app.example.com", "https://", "https://h:port", "https://a@b.example"),
        *("https://a.example\\x", "https://a.example\r\nBcc:x", "https://a.example?x", "https://a.example#x"),
        *("https://a.example/../x", "https://a.example/'", "https://a.example/\tx"),
    ],
)
def test_an_invalid_origin_is_a_configuration_error(name: str, value: str) -> None:
    """It names the setting, and no command that makes links runs."""
    with pytest.raises(ConfigurationError, match=f"^{name.upper()} ") as caught:
        link_origins(Settings(**{name: value}))
    assert "FRONTEND_URL" in caught.value.fix
    if name == "frontend_url":
        with pytest.raises(ConfigurationError, match=r"^FRONTEND_URL "):
            Links(Settings(**{name: value}))


@given(st.integers(min_value=0, max_value=len(SEALED)), st.text(min_size=1, max_size=5))
def test_text_added_to_a_link_makes_it_invalid(position: int, more: str) -> None:
    """Base64 decoders would ignore it."""
    changed = SEALED[:position] + more + SEALED[position:]
    with pytest.raises(InvalidLink):
        LINKS.verify(changed, purpose="reset-password", now=NOW)


@given(
    st.integers(min_value=0, max_value=len(SEALED) - 1), st.characters() | st.sampled_from(BASE64URL + "=")
)
def test_another_character_makes_a_link_invalid(position: int, other: str) -> None:
    """Whatever it decodes to."""
    assume(other != SEALED[position])
    with pytest.raises(InvalidLink):
        LINKS.verify(SEALED[:position] + other + SEALED[position + 1 :], purpose="reset-password", now=NOW)


def test_another_character_that_decodes_to_the_same_bytes_makes_a_link_invalid() -> None:
    """The last one before the padding has two bits that belong to no byte."""
    start, padding = SEALED.rstrip("=")[:-1], SEALED[len(SEALED.rstrip("=")) :]
    raw = base64.urlsafe_b64decode(SEALED)
    spellings = [f"{start}{last}{padding}" for last in BASE64URL]
    others = [each for each in spellings if base64.urlsafe_b64decode(each) == raw and each != SEALED]
    assert len(others) == 3
    for each in others:
        with pytest.raises(InvalidLink):
            LINKS.verify(each, purpose="reset-password", now=NOW)


@pytest.mark.parametrize("t", [None, 7, b"x", ["x"], {}, "\ud800", "é" * 40, "A" * 100_000])
def test_other_values_are_not_links(t: object) -> None:
    """A query parameter may be anything."""
    with pytest.raises(InvalidLink):
        LINKS.verify(t, purpose="reset-password", now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "is_debug", "is_allowed"),
    [
        ("http://localhost:3000", True, True),
        ("http://127.0.0.1:3000", True, True),
        ("http://[::1]:3000", True, True),
        ("http://localhost:3000", False, False),
        ("https://localhost:3000", False, False),
        ("https://shop.example", False, True),
    ],
)
def test_links_to_the_own_computer_are_for_development(url: str, is_debug: bool, is_allowed: bool) -> None:
    """In production nobody could use them."""
    origins = link_origins(Settings(frontend_url=url, debug=is_debug, email_enabled=True))
    assert (url in origins) is is_allowed


@pytest.mark.parametrize(
    "wanted", [{"mailctl_link_origins": "https://a.example, http://localhost:3000"}, {"email_enabled": False}]
)
def test_links_to_the_own_computer_are_made_in_production_if_somebody_wants_them(
    wanted: dict[str, Any],
) -> None:
    """MAILCTL_LINK_ORIGINS says so, or no email leaves this host."""
    settings = Settings(frontend_url="http://localhost:3000", debug=False, email_enabled=True)
    assert "FRONTEND_URL=http://localhost:3000" in links_problem(settings)
    settings = settings.model_copy(update=wanted)
    assert links_problem(settings) == ""
    assert "http://localhost:3000" in link_origins(settings)


@pytest.mark.parametrize("url", ["http://shop.example", "http://10.0.0.1", "http://localhost.evil.com"])
def test_http_to_another_host_is_a_configuration_error(url: str) -> None:
    """In development, too."""
    for is_debug in (True, False):
        with pytest.raises(ConfigurationError, match="http"):
            Links(Settings(frontend_url=url, debug=is_debug))
