"""MAILCTL_LINK_MINT: a function of the service makes the tokens of links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import NEW_IP, RESET
from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput, NotFound, UserDirectoryUnavailable
from mailctl.security.link_mint import LinkMint, LinkRequest, load_mint
from tests.tokens import claims_of, hs256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

EXPIRY = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = User(id="42", email="zoe@example.com", username="zoe", first_name="Zoe")
[RESET_LINK] = RESET.links
RECORD = {"id": 42, "email": "zoe@example.com", "username": "zoe", "hashed_password": "$2b$12$x"}
not_a_function = "text"


def mint(request: LinkRequest) -> str:
    """Make a token as a service does: with its own id of the user, and what else it wants to read later."""
    return hs256(
        {
            "sub": request.user.id,
            "type": request.purpose,
            "action": request.action,
            "ip": request.ip_address,
            "name": request.user.first_name,
            "kind": request.kind,
        },
        exp=request.expires_at,
    )


def token(function: Callable[[LinkRequest], object] = mint, **options: Any) -> str:
    """Return a token of a password reset."""
    find_user = options.pop("find_user", lambda _: RECORD)
    content = options.pop("content", Content(user=USER))
    return LinkMint(function, find_user=find_user).token(RESET, RESET_LINK, content, expires_at=EXPIRY)


def test_the_function_gets_all_that_a_link_needs() -> None:
    """Kind, purpose, action, IP address, expiry, and the user with the id as the database has it."""
    content = Content(user=USER, context={"ip_address": "203.0.113.7"})
    maker = LinkMint(mint, find_user=lambda _: RECORD)
    for link in NEW_IP.links:
        assert claims_of(maker.token(NEW_IP, link, content, expires_at=EXPIRY)) == {
            "sub": 42,
            "type": link.purpose,
            "action": link.action,
            "ip": "203.0.113.7",
            "name": "Zoe",
            "kind": "new-ip",
            "exp": int(EXPIRY.timestamp()),
        }


def test_each_column_of_the_user_is_an_attribute() -> None:
    """Services sign reset tokens with the hash of the present password; it is not printed by accident."""
    users = []
    token(lambda request: users.append(request.user) or "12345678")
    assert users[0].hashed_password == "$2b$12$x"
    assert repr(users[0]) == "LinkUser(id=42)"
    with pytest.raises(AttributeError, match="no column 'nickname'"):
        _ = users[0].nickname


@pytest.mark.parametrize(
    ("find_user", "user_id"), [(None, "42"), (lambda _: RECORD, None), (lambda _: {}, "42")]
)
def test_without_a_record_the_email_says_who_the_user_is(
    find_user: Callable[[str], Mapping[str, object]] | None, user_id: str | None
) -> None:
    """No database of users, only an address, or a user that mailctl's own table does not have."""
    content = Content(user=User(id=user_id, email="zoe@example.com", username="zoe"))
    claims = claims_of(token(find_user=find_user, content=content))
    assert (claims["sub"], claims["name"]) == (user_id, "")


def raising(request: LinkRequest) -> str:
    """Fail, and say with what."""
    raise ValueError(request.user.hashed_password)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raising, r"raised ValueError \(test_link_mint\.py, line \d+\)"),
        (lambda _: None, "must be 8 to 2048 characters"),
        (lambda _: "abc", "must be 8 to 2048 characters"),
        (lambda _: "a" * 2049, "must be 8 to 2048 characters"),
        (lambda _: "with spaces and \n", "must be 8 to 2048 characters"),
        (lambda: "12345678", "raised TypeError"),
    ],
)
def test_a_function_that_fails_is_a_configuration_error(
    function: Callable[[LinkRequest], object], reason: str
) -> None:
    """Its message may contain secrets, so only its type and place are told."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        token(function)
    assert "MAILCTL_LINK_MINT" in str(caught.value)
    assert "$2b$" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_email_to_a_user_who_is_gone_fails() -> None:
    """While a database that cannot be reached only delays it."""

    def gone(_: str) -> Mapping[str, object]:
        raise NotFound("There is no user 42 in table users.", fix="Check DATABASE_URL.")

    def away(_: str) -> Mapping[str, object]:
        raise UserDirectoryUnavailable("The database of users does not answer.", fix="Start it.")

    with pytest.raises(InvalidInput, match="user 42 does not exist any more"):
        token(find_user=gone)
    with pytest.raises(ConfigurationError, match="does not answer"):
        token(find_user=away)


@pytest.mark.parametrize(
    "spec", ["no.such.module:mint", f"{__name__}:no_such", f"{__name__}:not_a_function", __name__, ":mint"]
)
def test_the_setting_must_name_a_function(spec: str) -> None:
    """The error comes before the first email."""
    with pytest.raises(ConfigurationError, match="MAILCTL_LINK_MINT"):
        load_mint(spec)


def test_an_asynchronous_function_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With that reason, rather than as one that returns no usable token."""
    (tmp_path / "async_links.py").write_text("async def mint(request):\n    return 'a-token-of-the-shop'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="is an asynchronous function"):
        load_mint("async_links:mint")
