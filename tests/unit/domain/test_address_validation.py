"""Validation of email addresses; `test_validation` has the list of hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailctl.domain.address_validation import MAX_ADDRESS, validate_address
from mailctl.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("John.Smith@EXAMPLE.com", "John.Smith@example.com"),
        ("u@例え.example", "u@xn--r8jz45g.example"),
        ("u@bücher.example", "u@xn--bcher-kva.example"),
        ("u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
        ("first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk"),
        ("ops@service.test", "ops@service.test"),
    ],
)
def test_addresses_are_normalized_for_smtp(value: str, canonical: str) -> None:
    """The local part is unchanged; the domain becomes lower-case A-labels."""
    assert validate_address(value) == canonical


def test_an_error_names_the_field() -> None:
    """An operator sees which of several values is wrong."""
    with pytest.raises(InvalidInput, match=r"^reply address is not") as caught:
        validate_address("x", field="reply address")
    assert caught.value.field == "reply address"


@pytest.mark.parametrize("value", ["foo", "notanaddress"])
def test_an_address_without_an_at_sign_is_told_so(value: str) -> None:
    """Not that something is missing after it."""
    with pytest.raises(InvalidInput, match=r"^email is not a valid email address: it has no @-sign\.$"):
        validate_address(value)


@given(st.text() | st.emails() | st.from_regex(r"[^@]{0,70}@[^@]{0,70}"))
@example("u@example.com\n")
def test_a_valid_address_is_one_safe_mailbox(value: str) -> None:
    """It cannot end a command, a header or an address, and validating it again changes nothing."""
    try:
        address = validate_address(value)
    except InvalidInput:
        return
    assert address.isascii()
    assert address.count("@") == 1
    assert not set(address) & set(' \t\r\n\x00<>(),;:"[]\\')
    assert len(address) <= MAX_ADDRESS
    assert validate_address(address) == address


@given(st.emails(domains=st.just("example.com")))
def test_local_parts_keep_their_case(value: str) -> None:
    """`U@example.com` and `u@example.com` may be two users."""
    try:
        assert validate_address(value) == value
    except InvalidInput:
        assert "=?" in value or value.startswith("-")


@pytest.mark.parametrize(
    "address", ["zoe%evil.example@a.example", "evil.example!zoe@a.example", "a!evil.example!zoe@a.example"]
)
def test_routes_to_another_host_are_refused(address: str) -> None:
    """Old relays forward the percent hack and bang paths (RFC 5321 appendix F.2): to whom, nobody checked."""
    with pytest.raises(InvalidInput, match="route"):
        validate_address(address)


@pytest.mark.parametrize("address", ["x!y@a.example", "50%off@a.example", "a%b@a.example", "v1.2!@a.example"])
def test_what_names_no_host_is_no_route(address: str) -> None:
    """It is a mailbox like any other, which no relay forwards."""
    assert validate_address(address) == address
