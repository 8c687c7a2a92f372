"""The composer: what an email is made of becomes exactly the message that was meant."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, NEW_IP, RESET, Kind
from mailctl.domain.models import Content
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.security.bounce_address import bounce_address_from_settings
from mailctl.settings import Settings
from tests.emails import HEADERS
from tests.unit.rendering.composing import NOW, Hrefs, compose, composer, generic, read, user


@pytest.mark.parametrize("kind", BUILT_IN_KINDS.values(), ids=str)
def test_every_kind_renders_with_the_expected_headers(kind: Kind) -> None:
    """Each header once, in order, and two readable bodies without leftovers."""
    envelope = compose(kind)
    mail = read(envelope)
    assert mail.message.keys() == HEADERS
    assert email.message_from_bytes(envelope.data).keys() == HEADERS
    for body in (mail.text, mail.html):
        assert "Ada" in body
        assert "Acme" in body
        assert not re.search(r"\{\{|\{%|Undefined|None", body)


def test_the_headers_say_what_the_standards_ask_for() -> None:
    """RFC 5322 for the date and identity, RFC 3834 against auto-replies, RFC 3282 for the language."""
    envelope = compose(RESET)
    message = read(envelope).message
    assert message["Date"] == "Tue, 24 Nov 2026 13:05:00 +0000"
    assert message["From"] == "Acme <noreply@example.com>"
    assert message["To"] == "Ada <ada.lovelace@example.com>"
    assert message["Subject"] == envelope.subject == "Reset your Acme password"
    assert message["Message-ID"] == envelope.message_id
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["Content-Language"] == "en"
    assert f"<{message['X-Entity-Ref-ID']}@example.com>" == envelope.message_id


def test_the_envelope_names_sender_and_recipient_itself() -> None:
    """Who gets it is never read from a header."""
    envelope = compose(RESET)
    assert (envelope.sender, envelope.recipient) == ("noreply@example.com", "ada.lovelace@example.com")


def test_a_bounce_address_is_the_envelope_sender_of_each_email() -> None:
    """With its token; people see the sender, and the Message-ID keeps its domain."""
    settings = Settings(mailctl_bounce_address="bounces@bounce.example.com")
    envelope = compose(RESET, by=composer(mailctl_bounce_address="bounces@bounce.example.com"))
    bounces = bounce_address_from_settings(settings)
    assert bounces is not None
    assert bounces.email_id_of_address(envelope.sender) == "id-1"
    assert bounces.email_id(envelope.bounce_token) == "id-1"
    assert envelope.from_address == "noreply@example.com"
    assert envelope.message_id == compose(RESET).message_id
    assert str(read(envelope).message["From"].addresses[0].addr_spec) == "noreply@example.com"
    assert envelope.bounce_token.encode() not in envelope.data


def test_a_domain_of_another_script_travels_as_ascii() -> None:
    """The envelope and the header hold the same A-label (RFC 5891)."""
    envelope = compose(RESET, Content(user=user(email="ada@bücher.example")))
    assert envelope.recipient == "ada@xn--bcher-kva.example"
    assert read(envelope).message["To"].addresses[0].addr_spec == envelope.recipient


def test_the_message_id_is_the_same_for_every_attempt() -> None:
    """A receiver can tell a second copy from a second email."""
    first, again = compose(RESET), compose(RESET, now=NOW + timedelta(hours=1))
    other = compose(RESET, email_id="id-2")
    assert first.message_id == again.message_id != other.message_id
    assert first.data != again.data


def test_a_sign_in_is_told_with_its_address_and_time() -> None:
    """The time is that of the event, not of the sending."""
    text = read(compose(NEW_IP)).text
    assert "203.0.113.7" in text
    assert "24 November 2026, 13:00 UTC" in text


def test_a_sign_in_may_bring_its_own_time() -> None:
    """A service that knows better than the time of its request is believed."""
    context = {"ip_address": "203.0.113.7", "occurred_at": "yesterday at noon"}
    assert "yesterday at noon" in read(compose(NEW_IP, Content(user=user(), context=context))).text


def test_a_generic_email_has_its_own_subject_and_shows_its_link() -> None:
    """The message template takes the subject as its title unless it is given one."""
    url = "https://app.example.com/#/news?a=1&b=2"
    envelope = compose(GENERIC, generic(action_url=url, action_label="Read more"))
    mail = read(envelope)
    assert mail.message["Subject"] == "News"
    assert envelope.links == {"action_url": url}
    assert "News" in mail.text
    assert "Read more" in mail.text
    assert url in mail.text.splitlines()
    assert url in Hrefs(mail.html).found


@pytest.mark.parametrize("missing", ["subject", "template"])
def test_a_generic_email_without_subject_or_template_is_refused(missing: str) -> None:
    """Neither has a default that could be right."""
    with pytest.raises(InvalidInput) as raised:
        compose(GENERIC, replace(generic(), **{missing: None}))
    assert raised.value.field == missing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_FROM_ADDRESS", "no address"),
        ("EMAIL_FROM_ADDRESS", "a@example.com\r\nBcc: e@evil.com"),
        ("PROJECT_NAME", "Acme\nInc."),
        ("MAILCTL_TEMPLATES", Path("/nowhere/at/all")),
    ],
)
def test_an_unusable_setting_is_named_at_the_start(name: str, value: Any) -> None:
    """The operator reads which line of the environment to correct."""
    with pytest.raises(ConfigurationError, match=name):
        composer(**{name.lower(): value})


def test_the_environment_of_fastapi_mail_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only mailctl's own settings count, whatever else the environment holds."""
    before = read(compose(RESET)).message
    for name, value in {
        "MAIL_FROM": "evil@example.net",
        "MAIL_FROM_NAME": "Somebody else",
        "SUPPRESS_SEND": "1",
        "TIMEOUT": "30s",
        "TEMPLATE_FOLDER": "/nowhere",
        "MAIL_DEBUG": "many",
    }.items():
        monkeypatch.setenv(name, value)
    after = read(compose(RESET, by=composer())).message
    assert before.items() == [(name, after[name]) for name in HEADERS[:-1]] + before.items()[-1:]
