"""Which requests are allowed, as far as no delivery log is asked."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from mailctl.delivery_log.api_keys import generate_api_key
from mailctl.web.auth import AccessControl, check_same_origin
from mailctl.web.login_throttle import LoginThrottle
from mailctl.web.problem import AccessDenied
from tests.unit.web.requests import request

KEY = generate_api_key("this process alone")


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header of a key."""
    return {"authorization": f"{scheme} {key}"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_key_of_the_process_is_accepted(scheme: str) -> None:
    """The scheme is case-insensitive (RFC 9110)."""
    AccessControl(process_key=KEY).authenticate(request(**bearer(f" {KEY.plaintext} ", scheme)))


def test_a_request_without_a_key_is_told_how_to_get_one() -> None:
    """Status 401, with the challenge."""
    with pytest.raises(AccessDenied, match="A key is required") as denied:
        AccessControl(process_key=KEY).authenticate(request())
    assert (denied.value.status, denied.value.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert "mailctl keys create" in denied.value.fix


def test_invalid_keys_are_limited_by_address() -> None:
    """Then the right key has to wait, too; the answer says how long."""
    access = AccessControl(process_key=KEY, throttle=LoginThrottle(most=2, clock=lambda: 0.0))
    for _ in range(2):
        with pytest.raises(AccessDenied, match="not valid"):
            access.check_key(request(), "no key at all")
    with pytest.raises(AccessDenied, match="Too many") as denied:
        access.check_key(request(), KEY.plaintext)
    assert (denied.value.status, denied.value.headers) == (429, {"Retry-After": "61"})


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://mail.example.com"}, False),
        ({"origin": "https://mail.example.com"}, True),
        ({"origin": "https://mail.example.com.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": f"https://{'a' * 5000}"}, False),
        ({}, False),
    ],
)
def test_forms_must_come_from_the_dashboard(headers: dict[str, str], is_allowed: bool) -> None:
    """Sec-Fetch-Site decides; older browsers send Origin alone."""
    with nullcontext() if is_allowed else pytest.raises(AccessDenied):
        check_same_origin(request("/login", method="POST", **headers))
