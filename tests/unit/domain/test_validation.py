"""Validation of values from outside: what is accepted, and what never is."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain import link_validation, validation
from mailctl.domain.address_validation import validate_address
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGINS = frozenset({"https://app.example.com"})
LINES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "hostile.jsonl").read_text("utf-8").splitlines()
]
GATES: dict[str, Callable[[Any], str]] = {
    "email": validate_address,
    "reply_to": validate_address,
    "display_name": validation.validate_display_name,
    "from_name": validation.validate_display_name,
    "subject": validation.validate_subject,
    "action_url": lambda value: link_validation.validate_action_url(value, origins=ORIGINS),
    "ip": validation.validate_ip_address,
    "template_name": validation.validate_template_name,
    "idempotency_key": validation.validate_idempotency_key,
    "token": validation.validate_token,
}
#: Nothing from outside chooses these, so nothing checks them.
WITHOUT_GATE = {"header_name", "header_value", "locale", "attachment_filename"}


def lines(expect: str, *, greeting: bool = False) -> list[Any]:
    return [
        pytest.param(line["field"], line["value"], id=ascii(f"{line['field']}-{line['value'][:40]}"))
        for line in LINES
        if line["expect"] == expect
        and (line["field"] == "first_name" if greeting else line["field"] in GATES)
    ]


def test_every_field_of_the_list_is_validated_here_or_elsewhere() -> None:
    """A field that is added to the list of hostile values is not overlooked here."""
    assert {line["field"] for line in LINES} == GATES.keys() | WITHOUT_GATE | {"first_name"}


@pytest.mark.parametrize(("field", "value"), lines("reject"))
def test_hostile_values_are_refused(field: str, value: str) -> None:
    """Each is wrong usage with a reason; none is repaired."""
    with pytest.raises(InvalidInput) as caught:
        GATES[field](value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.reason


@pytest.mark.parametrize(("field", "value"), lines("accept"))
def test_unusual_valid_values_are_accepted(field: str, value: str) -> None:
    """Real users and services have them."""
    assert isinstance(GATES[field](value), str)


@pytest.mark.parametrize(("field", "value"), lines("reject", greeting=True))
def test_hostile_names_are_not_printed_in_greetings(field: str, value: str) -> None:
    """The email greets without a name."""
    assert validation.safe_greeting_name(value) == ""


@pytest.mark.parametrize(("field", "value"), lines("accept", greeting=True))
def test_real_names_are_printed_in_greetings(field: str, value: str) -> None:
    """Unchanged."""
    assert validation.safe_greeting_name(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "evil\uff0ecom",
        "evil\u3002com",
        "e\u00advil.com",
        "evil.xn--p1ai",
        "bit.ly/abc",
        "sign in at evil.example now",
        "1.2.3.4",
        "Call 0123 456 789 012 now",
        "mailto:x",
        "javascript:alert(1)",
        "tel:+49123",
        "[click](x)",
        "t.co/abc",
        "X.Com",
        "a.b.co",
        "пример.рф",
        "例え.テスト",
    ],
)
def test_disguised_links_are_not_printed_in_greetings(value: str) -> None:
    """Mail clients turn more than ASCII into links."""
    assert validation.safe_greeting_name(value) == ""


@pytest.mark.parametrize(
    "value",
    ["J.R.R. Tolkien", "П. И. Чайковский", "Mr. T", "Sammy Davis Jr.", "St. John", "Louis XIV", "R2-D2"],
)
def test_dots_after_titles_and_initials_are_not_links(value: str) -> None:
    """The filter must not drop real names."""
    assert validation.safe_greeting_name(value) == value


@pytest.mark.parametrize("value", [None, 42, b"u@example.com", ["u@example.com"], {}])
@pytest.mark.parametrize("gate", [*GATES.values(), validation.validate_variable_name])
def test_other_types_than_text_are_refused(gate: Callable[[Any], str], value: object) -> None:
    """JSON values may have any type."""
    with pytest.raises(InvalidInput):
        gate(value)


@pytest.mark.parametrize("value", [None, 42, b"Bob", ["Bob"]])
def test_a_name_that_is_not_text_is_not_printed(value: object) -> None:
    """A user without a first name is greeted without one."""
    assert validation.safe_greeting_name(value) == ""


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_ip_addresses_are_normalized(value: str, canonical: str) -> None:
    """One spelling for each (RFC 5952); IPv4-mapped addresses become IPv4."""
    assert validation.validate_ip_address(value) == canonical


@pytest.mark.parametrize("value", ["0.0.0.0", "::ffff:224.0.0.1", "ff02::1", "01.2.3.4", "\u0661.2.3.4"])
def test_reserved_addresses_are_not_addresses_of_clients(value: str) -> None:
    """They would be printed in a security email."""
    with pytest.raises(InvalidInput):
        validation.validate_ip_address(value)


@pytest.mark.parametrize("name", ["__class__", "a-b", "1a", "", "a.b", "a" * 65, "é"])
def test_private_variable_names_are_refused(name: str) -> None:
    """A template variable never reaches the attributes of an object."""
    with pytest.raises(InvalidInput):
        validation.validate_variable_name(name)


@given(st.text(max_size=300))
@pytest.mark.parametrize(
    "gate", [validation.validate_display_name, validation.validate_subject, validation.safe_greeting_name]
)
def test_a_valid_line_is_one_line(gate: Callable[[Any], str], value: str) -> None:
    """Without control characters, invisible reordering or encoded words."""
    try:
        line = gate(value)
    except InvalidInput:
        return
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in line)
    assert not any(unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF") for char in line)
    assert "=?" not in line
    line.encode("utf-8")
    assert gate(line) == line


@given(
    st.text(max_size=30),
    st.sampled_from(["evil.com", "http://x", "a@b", "www.x", "<b>"]),
    st.text(max_size=30),
)
def test_a_link_in_a_name_is_seen_wherever_it_stands(before: str, link: str, after: str) -> None:
    """Between words, that is; within one it is another word."""
    assert validation.safe_greeting_name(f"{before} {link} {after}") == ""


@given(st.ip_addresses())
def test_normalizing_an_ip_address_again_changes_nothing(address: object) -> None:
    """The canonical form is stable."""
    try:
        canonical = validation.validate_ip_address(str(address))
    except InvalidInput:
        return
    assert validation.validate_ip_address(canonical) == canonical


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("Call +44 20", ""),
        ("\uff0b44 20", ""),
        ("+ 1", ""),
        ("Zoe 2", "Zoe 2"),
        ("A+ Student", "A+ Student"),
        ("\\\\evil\\share", ""),
        ("evil dot com", ""),
        ("vbscript:x", ""),
    ],
)
def test_a_name_that_is_a_telephone_number_or_a_link_greets_nobody(name: str, greeting: str) -> None:
    """Telephones offer to dial what begins like an international number."""
    assert validation.safe_greeting_name(name) == greeting


def test_an_invalid_id_is_replaced_by_one_that_is_always_the_same() -> None:
    """So that a redelivered message is recorded once."""
    assert validation.email_id_of("an-id") == "an-id"
    assert validation.email_id_of("a\n") == validation.email_id_of("a\n") != validation.email_id_of("b\n")
