"""Every parser and gate under any input: it answers, or refuses in one of our errors; nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.broker.task_arguments import from_arguments, to_arguments
from mailctl.delivery_log.storage import encryption
from mailctl.domain import link_validation, validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.catalog import BUILT_IN_KINDS, Kind
from mailctl.domain.factory import make_recipient, make_user
from mailctl.domain.models import Content, RowProblem, User
from mailctl.domain.outcomes import OutcomeKind
from mailctl.domain.recipient_list import RecipientRow, read_recipients
from mailctl.domain.template_context import validate_variables
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError
from mailctl.security.address_masking import mask_addresses_in_text
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings
from mailctl.smtp.classify import classify_reply
from mailctl.smtp.failures import classify_error
from mailctl.timefmt import parse_duration, parse_future_time, parse_past_time, parse_rate

ORIGINS = frozenset({"https://app.example.com"})
NOW = datetime(2026, 11, 25, tzinfo=UTC)
KEYRING = Keyring(["a secret"])
ROW = encryption.RowIdentity(id="1", kind="welcome", recipient="u@example.com", expires_at=None)
#: With half characters too, which JSON can carry.
TEXT = st.text(st.characters(codec=None), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAMES = ("user_data", "subject", "recipients", "template_name", "context", "reset_url", "ip_address")
ARGUMENTS = st.dictionaries(st.sampled_from(NAMES), JSON)
GATES = [
    validate_address,
    validation.validate_display_name,
    validation.validate_subject,
    validation.validate_ip_address,
    validation.validate_template_name,
    validation.validate_idempotency_key,
    validation.validate_token,
    validation.validate_variable_name,
    validation.validate_file_name,
    validation.validate_locale,
    validation.validate_header_name,
    validation.validate_header_value,
    validation.validate_email_id,
    validation.validate_user_id,
    validate_variables,
    lambda value: link_validation.validate_action_url(value, origins=ORIGINS),
    lambda value: make_user(email="u@example.com", id=value, username=value, first_name=value),
    lambda value: make_recipient(email="u@example.com", name=value),
]


@pytest.mark.parametrize("gate", GATES)
@given(value=JSON | st.binary(max_size=9) | st.datetimes())
def test_a_gate_answers_or_refuses(gate: Any, value: object) -> None:
    """Whatever the type; what it lets in can be written as UTF-8."""
    try:
        passed = gate(value)
    except InvalidInput:
        return
    if isinstance(passed, str):
        passed.encode()


@given(JSON)
def test_a_name_is_greeted_or_not(value: object) -> None:
    """It never fails an email."""
    assert isinstance(validation.safe_greeting_name(value), str)


@pytest.mark.parametrize("kind", BUILT_IN_KINDS.values(), ids=BUILT_IN_KINDS)
@given(arguments=ARGUMENTS)
def test_arguments_of_a_message_are_taken_or_refused(kind: Kind, arguments: dict[str, Any]) -> None:
    """And what is taken can be sealed, opened and sent on."""
    try:
        contents = from_arguments(kind, arguments, origins=ORIGINS)
    except InvalidInput:
        return
    for content in contents:
        assert encryption.open_sealed(encryption.seal(content, KEYRING, ROW), KEYRING, ROW) == content
        json.dumps(to_arguments(kind, content, urls=content.urls), allow_nan=False)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), JSON, max_size=5))
def test_variables_come_back_from_their_seal(value: dict[str, Any]) -> None:
    """What the gate lets in is JSON, to the letter."""
    try:
        given_variables = validate_variables(value)
    except InvalidInput:
        return
    content = Content(user=User(email="u@example.com"), context=given_variables)
    assert encryption.open_sealed(encryption.seal(content, KEYRING, ROW), KEYRING, ROW) == content


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_a_list_is_read_or_refused(data: bytes) -> None:
    """Row by row; a bad one is told with its line."""
    _read(b"email,name\n" + data)
    _read(data)


@given(st.lists(JSON, max_size=5))
def test_json_lines_are_read_or_refused(rows: list[Any]) -> None:
    """Whatever JSON is in them."""
    _read(b'"u@example.com"\n' + b"\n".join(json.dumps(row).encode() for row in rows))


def _read(data: bytes) -> None:
    try:
        rows = list(read_recipients(data))
    except InvalidInput:
        return
    assert all(isinstance(row, RecipientRow | RowProblem) for row in rows)


@given(st.text(max_size=40) | st.from_regex(r"\d{1,30}[smhd]", fullmatch=True))
def test_times_are_read_or_refused(text: str) -> None:
    """As lengths, rates, moments to come and moments that passed."""
    for parse in (
        lambda: parse_duration(text, field="--in"),
        lambda: parse_rate(text, field="--rate"),
        lambda: parse_future_time(text, field="--at", now=NOW),
        lambda: parse_past_time(text, field="--since", now=NOW),
    ):
        try:
            assert isinstance(parse(), timedelta | float | datetime)
        except InvalidInput:
            continue


STAGES = st.sampled_from(["connect", "tls", "auth", "mail", "rcpt", "data", "body"])


@given(st.integers(-10, 999), TEXT, STAGES)
def test_every_reply_of_a_mail_server_means_something(code: int, text: str, stage: str) -> None:
    """Only a positive one after the body is a success; what is kept is one printable line."""
    outcome = classify_reply(code, text, stage=stage)
    assert (outcome.kind is OutcomeKind.ACCEPTED) == (stage == "body" and 250 <= code <= 259)
    assert outcome.reply.text.isprintable()


@given(st.sampled_from([OSError, ValueError, TimeoutError, ConnectionResetError, KeyError]), TEXT, STAGES)
def test_every_error_of_a_session_means_something(error: type[Exception], text: str, stage: str) -> None:
    """After the body was handed over, nobody knows."""
    outcome = classify_error(error(text), stage=stage, body_handed_over=stage == "body")
    assert (outcome.kind is OutcomeKind.AMBIGUOUS) == (stage == "body")


@given(st.binary(max_size=200))
def test_no_noise_opens_as_a_content(noise: bytes) -> None:
    """It is told that another key sealed it."""
    with pytest.raises(ConfigurationError):
        encryption.open_sealed(noise, KEYRING, ROW)


SETTING_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(st.sampled_from(sorted(Settings.model_fields)), SETTING_VALUES)
def test_a_setting_is_taken_or_refused(name: str, value: str) -> None:
    """One that is refused is named."""
    refusals = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(name.upper(), value)
        try:
            Settings.load()
        except MailctlError as error:
            refusals.append(error.message)
    assert all(name.upper() in refusal for refusal in refusals)


@given(st.emails(), TEXT)
def test_no_address_is_readable_in_what_is_logged(address: str, text: str) -> None:
    """What stays is its first letter and its domain."""
    shown = mask_addresses_in_text(f"550 <{address}>: {text}")
    local_part = address.partition("@")[0]
    assert len(local_part) < 3 or f"{local_part}@" not in shown.replace(text, "")
    assert mask_addresses_in_text("to zoe.smith@shop.example.") == "to z…@shop.example."
