"""Builds validated users, contents and drafts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fastapi_mail import MessageSchema, NameEmail

from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, WELCOME, Catalog, Kind
from mailctl.domain.email_ids import day_digits, day_of
from mailctl.domain.factory import make_content, make_drafts, make_recipient, make_user, parse_recipient
from mailctl.domain.models import Content, Draft, User
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput
from tests.tokens import hs256

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ORIGINS = frozenset({"https://app.example.com"})
USER = User(email="zoe@example.com", id="7")
INVOICE = Kind(
    name="invoice",
    subject="Invoice {number}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number",),
    optional=("note",),
)


def test_a_user_is_validated() -> None:
    """The id becomes text, and names that are not text are dropped."""
    user = make_user(email="Zoe@EXAMPLE.com", id=7, username=3, first_name="x" * 201)
    assert user == User(email="Zoe@example.com", id="7")
    with pytest.raises(InvalidInput):
        make_user(email="nobody")


def test_a_recipient_has_a_display_name() -> None:
    """Which must be safe in a header."""
    assert make_recipient(email="zoe@example.com", name=None).first_name == ""
    assert make_recipient(email="zoe@example.com", name="Zoë").first_name == "Zoë"
    with pytest.raises(InvalidInput, match=r"recipients\.name"):
        make_recipient(email="zoe@example.com", name="Zoe\nBcc: x")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("zoe@example.com", ""),
        ("Zoe Smith <zoe@example.com>", "Zoe Smith"),
        ('"Smith, Zoe" <zoe@example.com>', "Smith, Zoe"),
        ({"email": "zoe@example.com"}, ""),
        ({"name": "Zoe", "email": "zoe@example.com"}, "Zoe"),
        (NameEmail(name="Zoe", email="zoe@example.com"), "Zoe"),
        (NameEmail(name="zoe", email="zoe@example.com"), ""),
        (MessageSchema(recipients=["Zoe <zoe@example.com>"], subtype="html").recipients[0], "Zoe"),
        (MessageSchema(recipients=["zoe@example.com"], subtype="html").recipients[0], ""),
        (SimpleNamespace(email="zoe@example.com"), ""),
    ],
)
def test_a_recipient_has_many_forms(value: object, name: str) -> None:
    """Those of FastAPI-Mail among them, which takes the local part for the name if there is none."""
    assert parse_recipient(value) == User(email="zoe@example.com", first_name=name)


@pytest.mark.parametrize(
    "value",
    [
        7,
        None,
        ["zoe@example.com"],
        b"zoe@example.com",
        {"name": "Zoe"},
        "Zoe <zoe@example.com>, eve@example.com",
        "Zoe <zoe@example.com> <eve@example.com>",
        "Zoe\r\nBcc: eve@example.com <zoe@example.com>",
        "<zoe@example.com",
        SimpleNamespace(email=7),
        SimpleNamespace(email="zoe@example.com", name=7),
    ],
)
def test_other_values_are_no_recipients(value: object) -> None:
    """One recipient, and nothing that becomes a header."""
    with pytest.raises(InvalidInput):
        parse_recipient(value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("news", "news"),
        ("news.html", "news"),
        ("auth/news.txt", "auth/news"),
        ("bill.html", "invoice"),
        ("bill", "invoice"),
    ],
)
def test_a_template_has_many_names(given: str, named: str) -> None:
    """With its ending, in a folder, and those that the settings give it."""
    catalog = Catalog(template_aliases={"bill": "invoice"})
    content = make_content(GENERIC, USER, origins=ORIGINS, subject="Hi", template=given, catalog=catalog)
    assert content.template == named


@pytest.mark.parametrize("given", ["reset.html", "reset.txt", "pw"])
def test_the_rules_of_security_emails_hold_for_every_name_of_their_templates(given: str) -> None:
    """Or an alias would be a way around them."""
    catalog = Catalog(template_aliases={"pw": "reset"})
    context = {"reset_url": "https://evil.example/"}
    with pytest.raises(InvalidInput, match="reset_url leads to"):
        make_content(
            GENERIC, USER, origins=ORIGINS, subject="Hi", template=given, context=context, catalog=catalog
        )


def test_a_task_of_the_service_gets_the_name_as_it_was_given() -> None:
    """Its own code finds the file by it."""
    content = make_content(
        GENERIC, USER, origins=ORIGINS, subject="Hi", template="auth/news.html", keeps_template=True
    )
    assert content.template == "auth/news.html"


def test_an_ip_address_is_normalized() -> None:
    """And it is required by its kind."""
    content = make_content(NEW_IP, USER, origins=ORIGINS, context={"ip_address": "::FFFF:203.0.113.7"})
    assert content.context["ip_address"] == "203.0.113.7"
    with pytest.raises(InvalidInput, match="needs the variable ip_address"):
        make_content(NEW_IP, USER, origins=ORIGINS)


@pytest.mark.parametrize(
    ("context", "tokens", "problem"),
    [
        ({"number": 1, "amuont": 2}, {}, "Kind invoice has no variable 'amuont'"),
        ({"number": 1}, {"token": "12345678"}, "Kind invoice has no token 'token'"),
        ({}, {}, "Kind invoice needs the variable number"),
        ({"number": "x" * 300}, {}, "subject"),
        ({"number": 1, "locale": "?"}, {}, "locale"),
    ],
)
def test_mistakes_are_refused(context: dict[str, object], tokens: dict[str, str], problem: str) -> None:
    """With the name of the value."""
    with pytest.raises(InvalidInput, match=problem):
        make_content(INVOICE, USER, origins=ORIGINS, context=context, tokens=tokens)


def test_links_of_other_programs_must_lead_to_the_service() -> None:
    """They are kept as they are."""
    url = "https://app.example.com/reset-password?t=x"
    assert make_content(RESET, USER, origins=ORIGINS, urls={"reset_url": url}).urls == {"reset_url": url}
    with pytest.raises(InvalidInput, match="reset_url leads to"):
        make_content(RESET, USER, origins=ORIGINS, urls={"reset_url": "https://evil.example/"})


def test_a_generic_email_with_a_security_template_has_its_links() -> None:
    """They come in its context."""
    url = "https://app.example.com/reset-password?t=x"
    content = make_content(
        GENERIC, USER, origins=ORIGINS, context={"reset_url": url}, subject="Reset", template="reset"
    )
    assert (content.urls, content.template) == ({"reset_url": url}, "reset")


def drafts(
    *contents: Content, kind: Kind = WELCOME, first_id: str | None = None, **times: datetime
) -> list[Draft]:
    """Return the emails of a request."""
    return make_drafts(EmailRequest(kind=kind, **times), contents, queue="q", now=NOW, first_id=first_id)


def test_the_emails_of_one_call_belong_together() -> None:
    """Their ids follow from the first, so that a repeated call gives the same ones."""
    to_zoe = Content(user=USER)
    first, second = found = drafts(to_zoe, to_zoe, first_id="a")
    assert (first.id, first.group_id, second.group_id) == ("a", "a", "a")
    assert second.id == str(uuid.uuid5(uuid.NAMESPACE_OID, "a/1"))
    assert found == drafts(to_zoe, to_zoe, first_id="a")


def test_a_single_email_has_no_group() -> None:
    """Its id is generated if none is given."""
    [draft] = drafts(Content(user=USER))
    assert (draft.group_id, draft.created_at, draft.expires_at) == (None, NOW, NOW + WELCOME.lifetime)
    assert draft.id.startswith(day_digits(day_of(NOW)))


def test_the_idempotency_key_is_validated() -> None:
    """Before anything is recorded under it."""
    request = EmailRequest(kind=WELCOME, idempotency_key="a b")
    with pytest.raises(InvalidInput, match="idempotency key"):
        make_drafts(request, [Content(user=USER)], queue="q", now=NOW)


def test_the_lifetime_starts_at_the_time_of_sending() -> None:
    """A time in the past does not shorten it, and a security template does."""
    later = NOW + timedelta(hours=5)
    [scheduled] = drafts(Content(user=USER), not_before=later)
    assert scheduled.expires_at == later + WELCOME.lifetime
    [late] = drafts(Content(user=USER), not_before=NOW - timedelta(days=9))
    assert late.expires_at == NOW + WELCOME.lifetime
    [reset] = drafts(Content(user=USER, template="reset"), kind=GENERIC)
    assert reset.expires_at == NOW + RESET.lifetime


def test_the_earlier_expiry_counts() -> None:
    """That of the kind, or that of the request."""
    soon = NOW + timedelta(seconds=1)
    assert drafts(Content(user=USER), expires_at=soon)[0].expires_at == soon
    far = NOW + WELCOME.lifetime + timedelta(days=1)
    assert drafts(Content(user=USER), expires_at=far)[0].expires_at == NOW + WELCOME.lifetime


def test_the_token_of_the_service_limits_the_life_of_an_email() -> None:
    """From when it is given, also if the email is to be sent later; a JWT says itself how long."""
    half_an_hour = NOW + timedelta(minutes=30)
    jwt = Content(user=USER, tokens={"token": hs256({}, exp=half_an_hour)})
    opaque = Content(user=USER, tokens={"token": "an-opaque-token"})
    assert drafts(jwt, kind=RESET)[0].expires_at == half_an_hour
    assert drafts(opaque, kind=RESET, not_before=half_an_hour)[0].expires_at == NOW + RESET.lifetime
    request = EmailRequest(kind=RESET, not_before=half_an_hour)
    [sealed] = make_drafts(request, [opaque], queue="q", now=NOW, seals_tokens=True)
    assert sealed.expires_at == half_an_hour + RESET.lifetime


def test_the_token_in_a_link_of_another_program_limits_the_life_of_an_email() -> None:
    """Its message may have waited on the broker."""
    soon = NOW + timedelta(minutes=5)
    url = f"https://app.example.com/reset-password?t={hs256({}, exp=soon)}"
    assert drafts(Content(user=USER, urls={"reset_url": url}), kind=RESET)[0].expires_at == soon
    named = Content(user=USER, urls={"reset_url": url}, template="reset")
    assert drafts(named, kind=GENERIC)[0].expires_at == soon
