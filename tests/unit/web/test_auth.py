"""Which requests are allowed, as far as no delivery log is asked."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from starlette.responses import Response

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
    """The answer says how long to wait; the right key is accepted meanwhile, because others may have it."""
    access = AccessControl(process_key=KEY, throttle=LoginThrottle(most=2, clock=lambda: 0.0))
    for _ in range(2):
        with pytest.raises(AccessDenied, match="not valid"):
            access.check_key(request(), "no key at all")
    with pytest.raises(AccessDenied, match="Too many") as denied:
        access.check_key(request(), "no key at all")
    assert (denied.value.status, denied.value.headers) == (429, {"Retry-After": "61"})
    assert access.check_key(request(), KEY.plaintext) == KEY.id


@pytest.mark.parametrize("form", ["mk_\0_x", "{key}\0", "mk_12345678_x", "mk__", " {key}", "{key}="])
def test_what_has_not_the_form_of_a_key_is_not_looked_up(form: str) -> None:
    """A database would refuse some of it, and say where it is."""
    with pytest.raises(AccessDenied, match="not valid"):
        AccessControl(process_key=KEY).check_key(request(), form.format(key=KEY.plaintext))


def test_a_session_of_the_process_key_ends() -> None:
    """By signing out: a copy of the cookie is worth nothing; the delivery log is not asked."""
    access = AccessControl(process_key=KEY)
    response = Response()
    access.begin_session(request(), response, KEY.id, path="/")
    cookie = response.headers["set-cookie"].partition(";")[0]
    access.authenticate(request(cookie=cookie))
    access._process_sessions.end(cookie.partition("=")[2])
    assert not access._process_sessions.is_valid(cookie.partition("=")[2])


@pytest.mark.parametrize(("scheme", "header", "is_secure"), [("http", "", False), ("http", "https", True)])
def test_the_cookie_is_for_https_where_a_proxy_says_so(scheme: str, header: str, is_secure: bool) -> None:
    """The server itself does not see it."""
    asked = request(x_forwarded_proto=header)
    asked.scope["scheme"] = scheme
    response = Response()
    AccessControl(process_key=KEY).begin_session(asked, response, KEY.id, path="/")
    assert ("Secure" in response.headers["set-cookie"]) == is_secure


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
