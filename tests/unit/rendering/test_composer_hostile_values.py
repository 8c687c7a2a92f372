"""Values that users choose: each arrives exactly as it is, or is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain.catalog import GENERIC, RESET
from mailctl.domain.models import Content
from mailctl.errors import ConfigurationError, InvalidInput, RenderError
from mailctl.rendering.templates import MAX_HTML
from tests.emails import HEADERS
from tests.unit.rendering.composing import Hrefs, compose, composer, generic, hostile, read, user


def test_a_context_does_not_override_the_facts() -> None:
    """Who it is to, who it is from and where its links lead are not for the caller's variables."""
    facts = (
        "project_name",
        "frontend_url",
        "subject",
        "greeting_name",
        "recipient_email",
        "reset_url",
        "expires_at",
    )
    content = Content(user=user(), context=dict.fromkeys(facts, "FORGED"))
    envelope = compose(RESET, content)
    assert b"FORGED" not in envelope.data
    assert "FORGED" not in str(envelope.links)


@pytest.mark.parametrize(("locale", "expect"), [*hostile("locale"), (["fr"], "reject")])
def test_a_locale_counts_if_it_is_a_language_tag(locale: Any, expect: str) -> None:
    """Anything else falls back to English."""
    mail = read(compose(GENERIC, generic(locale=locale, title="Hi", body="Hello")))
    assert mail.message["Content-Language"] == (locale if expect == "accept" else "en")


@pytest.mark.parametrize(("name", "expect"), [*hostile("first_name"), *hostile("display_name")])
def test_a_hostile_name_neither_greets_nor_redirects(name: str, expect: str) -> None:
    """A name that could mislead is left out; the email goes to its one recipient all the same."""
    envelope = compose(RESET, Content(user=user(first_name=name, email="victim@corp.example")))
    mail = read(envelope)
    assert envelope.recipient == "victim@corp.example"
    (to,) = mail.message["To"].addresses
    assert to.addr_spec == "victim@corp.example"
    assert mail.message.keys() == HEADERS
    if expect == "reject":
        assert to.display_name == ""
        assert "Hello,\n" in mail.text
        assert name not in mail.text + mail.html


@pytest.mark.parametrize(
    "name", [pytest.param(each.values[0], id=each.id) for each in hostile("first_name", expect="accept")]
)
def test_a_real_name_greets_as_it_is_written(name: str) -> None:
    """No real name is lost to the filter, and none is rendered as a template."""
    mail = read(compose(RESET, Content(user=user(first_name=name))))
    assert f"Hello {name},\n" in mail.text
    assert f"Hello {name}," in "".join(Hrefs(mail.html).words)
    assert mail.message["To"].addresses[0].display_name == name


@pytest.mark.parametrize(("subject", "expect"), hostile("subject"))
def test_a_subject_arrives_exactly_or_not_at_all(subject: str, expect: str) -> None:
    """A header injection is refused; every language gets through."""
    content = replace(generic(), subject=subject)
    if expect == "reject":
        with pytest.raises(InvalidInput):
            compose(GENERIC, content)
    else:
        assert read(compose(GENERIC, content)).message["Subject"] == subject


@pytest.mark.parametrize(("name", "expect"), hostile("from_name"))
def test_a_sender_name_arrives_exactly_or_stops_the_start(name: str, expect: str) -> None:
    """The operator learns which setting is wrong before anything is sent."""
    if expect == "reject":
        with pytest.raises(ConfigurationError, match="EMAIL_FROM_NAME"):
            composer(email_from_name=name)
    else:
        (sender,) = read(compose(RESET, by=composer(email_from_name=name))).message["From"].addresses
        assert (sender.display_name, sender.addr_spec) == (name, "noreply@example.com")


@pytest.mark.parametrize(("address", "expect"), hostile("email"))
def test_an_address_is_used_exactly_or_not_at_all(address: str, expect: str) -> None:
    """Nobody but the one recipient gets it, and a refusal does not repeat the address."""
    content = Content(user=user(email=address))
    if expect == "reject":
        with pytest.raises(InvalidInput) as raised:
            compose(RESET, content)
        assert len(address) < 3 or address not in str(raised.value)
    else:
        envelope = compose(RESET, content)
        (to,) = read(envelope).message["To"].addresses
        assert to.addr_spec == envelope.recipient


@given(first_name=st.text(max_size=80), word=st.text(st.characters(exclude_characters="\0"), max_size=80))
def test_no_user_text_changes_the_structure(first_name: str, word: str) -> None:
    """Whatever a user is called and whatever a context holds: these headers, this recipient, two bodies."""
    content = replace(generic(body=word), user=user(first_name=first_name))
    try:
        envelope = compose(GENERIC, content)
    except RenderError as error:
        assert "surrogate" in str(error)  # noqa: PT017 - a half character is the one thing refused
        return
    mail = read(envelope)
    assert mail.message.keys() == HEADERS
    assert [address.addr_spec for address in mail.message["To"].addresses] == ["ada@example.com"]


def test_braces_in_the_project_name_are_only_braces() -> None:
    """A name is data: neither `str.format` nor Jinja reads it."""
    envelope = compose(RESET, by=composer(project_name="{0.__class__} {{ 7*7 }}"))
    assert envelope.subject == "Reset your {0.__class__} {{ 7*7 }} password"
    assert "{{ 7*7 }}" in read(envelope).text


def test_an_email_that_would_be_cut_off_is_refused() -> None:
    """Gmail hides the end of a long message, which may be where its links are."""
    with pytest.raises(RenderError, match="cut it off"):
        compose(GENERIC, generic(body="x" * MAX_HTML))


def test_a_nul_in_a_body_is_refused() -> None:
    """It would end the message early in some programs."""
    with pytest.raises(RenderError, match="NUL"):
        compose(GENERIC, generic(body="a\0b"))
