"""The composer: what an email is made of becomes exactly the message that was meant."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, NEW_IP, RESET, VERIFICATION, WELCOME, Kind
from mailctl.domain.models import Content, User
from mailctl.domain.samples import sample_content
from mailctl.domain.validation import MAX_TOKEN
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError, RenderError
from mailctl.rendering.composer import Composer
from mailctl.rendering.templates import MAX_HTML
from mailctl.security.links import Links
from mailctl.settings import Settings
from tests.emails import HEADERS
from tests.tokens import hs256

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailctl.domain.models import Envelope

CREATED = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
NOW = CREATED + timedelta(minutes=5)
HOSTILE = Path(__file__).parents[2] / "data" / "hostile.jsonl"


def composer(**settings: Any) -> Composer:
    made = Settings(**{"project_name": "Acme", "frontend_url": "https://app.example.com", **settings})
    return Composer(made, Links(made))


COMPOSER = composer()


def compose(
    kind: Kind,
    content: Content | None = None,
    *,
    by: Composer = COMPOSER,
    email_id: str = "id-1",
    now: datetime = NOW,
) -> Envelope:
    content = content or sample_content(kind)
    return asyncio.run(by.compose(id=email_id, kind=kind.name, content=content, created_at=CREATED, now=now))


@dataclass(frozen=True)
class Read:
    """A message as a mail program reads it."""

    message: EmailMessage
    text: str
    html: str


def read(envelope: Envelope) -> Read:
    message = email.message_from_bytes(envelope.data, policy=email.policy.default)
    text, html = message.iter_parts()
    assert [text.get_content_type(), html.get_content_type()] == ["text/plain", "text/html"]
    assert not any(part.defects for part in message.walk())
    bodies = [part.get_content().replace("\r\n", "\n") for part in (text, html)]
    return Read(message, *bodies)


class Hrefs(HTMLParser):
    """Collects where the links of a page lead, and its visible words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def hostile(field: str) -> list[Any]:
    lines = (json.loads(line) for line in HOSTILE.read_text(encoding="utf-8").splitlines())
    return [
        pytest.param(line["value"], line["expect"], id=line["why"][:40])
        for line in lines
        if line["field"] == field
    ]


def user(**changes: str) -> User:
    return replace(User(email="ada@example.com", id="42", first_name="Ada"), **changes)


def generic(template: str = "message", **context: Any) -> Content:
    return Content(user=user(), subject="News", template=template, context={"body": "Hello.", **context})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the service's own templates with one pair in it."""
    (tmp_path / "news.html").write_text("<p>{{ greeting_name }} & {{ word }}</p>\n", encoding="utf-8")
    (tmp_path / "news.txt").write_text("{{ greeting_name }} & {{ word }}\n", encoding="utf-8")
    return tmp_path


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


@pytest.mark.parametrize("kind", [RESET, VERIFICATION, NEW_IP], ids=lambda kind: kind.name)
def test_a_link_is_the_same_in_both_bodies_and_in_the_envelope(kind: Kind) -> None:
    """The plain text holds the link unescaped, on a line of its own, equal to the href."""
    envelope = compose(kind)
    mail = read(envelope)
    hrefs = Hrefs(mail.html).found
    assert list(envelope.links) == [link.variable for link in kind.links]
    for url in envelope.links.values():
        assert url in mail.text.splitlines()
        assert url in hrefs


def test_a_ready_made_link_is_used_as_it_is() -> None:
    """`&` is escaped in HTML and nowhere else, and the time counts from when the link was made."""
    url = "https://app.example.com/reset?token=abc&uid=1"
    envelope = compose(RESET, Content(user=user(), urls={"reset_url": url}))
    mail = read(envelope)
    assert url in mail.text.splitlines()
    assert f'href="{url.replace("&", "&amp;")}"' in mail.html
    assert "24 November 2026, 14:00 UTC" in mail.text


@pytest.mark.parametrize(
    ("kind", "expires_in", "expires_at"),
    [
        (RESET, "1 hour", "24 November 2026, 14:05 UTC"),
        (VERIFICATION, "24 hours", "25 November 2026, 13:05 UTC"),
        (NEW_IP, "24 hours", "25 November 2026, 13:05 UTC"),
    ],
    ids=["reset", "verification", "new-ip"],
)
def test_the_reader_learns_how_long_links_work(kind: Kind, expires_in: str, expires_at: str) -> None:
    """Minted links live from the moment of sending."""
    text = " ".join(read(compose(kind)).text.split())
    assert f"{expires_in}, until {expires_at}" in text


@pytest.mark.parametrize(
    ("token", "expires_in", "expires_at"),
    [
        ("an-opaque-token", "55 minutes", "24 November 2026, 14:00 UTC"),
        (hs256({}, exp=CREATED + timedelta(minutes=30)), "25 minutes", "24 November 2026, 13:30 UTC"),
        (hs256({}, exp=CREATED + timedelta(hours=9)), "55 minutes", "24 November 2026, 14:00 UTC"),
    ],
    ids=["opaque", "short JWT", "long JWT"],
)
def test_the_reader_learns_how_long_a_token_of_the_service_works(
    token: str, expires_in: str, expires_at: str
) -> None:
    """From when it was given; the `exp` of a JWT shortens that and never lengthens it."""
    content = replace(sample_content(RESET), tokens={"token": token})
    text = " ".join(read(compose(RESET, content)).text.split())
    assert f"{expires_in}, until {expires_at}" in text
    assert f"https://app.example.com/reset-password?t={token}" in text


def test_the_longest_token_arrives_whole() -> None:
    """Whatever mail servers do to long lines; each character of this one is percent-encoded."""
    content = replace(sample_content(RESET), tokens={"token": "+" * MAX_TOKEN})
    mail = read(compose(RESET, content))
    url = f"https://app.example.com/reset-password?t={'%2B' * MAX_TOKEN}"
    assert url in mail.text.splitlines()
    assert url in Hrefs(mail.html).found


def test_a_sign_in_is_told_with_its_address_and_time() -> None:
    """The time is that of the event, not of the sending."""
    text = read(compose(NEW_IP)).text
    assert "203.0.113.7" in text
    assert "24 November 2026, 13:00 UTC" in text


def test_a_sign_in_may_bring_its_own_time() -> None:
    """A service that knows better than the time of its request is believed."""
    context = {"ip_address": "203.0.113.7", "occurred_at": "yesterday at noon"}
    assert "yesterday at noon" in read(compose(NEW_IP, Content(user=user(), context=context))).text


def test_a_welcome_leads_to_the_front_page() -> None:
    """A welcome email needs nothing but its user."""
    assert compose(WELCOME).links == {"action_url": "https://app.example.com"}


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
    mail = read(compose(RESET, Content(user=user(), context={"locale": locale})))
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


@pytest.mark.parametrize(("name", "expect"), hostile("first_name"))
def test_a_real_name_greets_as_it_is_written(name: str, expect: str) -> None:
    """No real name is lost to the filter, and none is rendered as a template."""
    if expect == "accept":
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


def test_own_templates_come_first(folder: Path) -> None:
    """A pair of the service's own replaces the packaged one of that name, and may build on packaged parts."""
    (folder / "reset.html").write_text('{% extends "_base.html" %}{% block heading %}Ours{% endblock %}')
    (folder / "reset.txt").write_text("Ours: {{ reset_url }}\n")
    by = composer(mailctl_templates=folder)
    mail = read(compose(RESET, by=by))
    assert mail.text.startswith("Ours: https://app.example.com/")
    assert ">Ours</h1>" in mail.html
    assert by.list_templates() == ["news", "reset", "message", "new-ip", "verification", "welcome"]


def test_only_html_is_escaped(folder: Path) -> None:
    """Plain text shows a name as it is; HTML shows the same to its reader."""
    mail = read(compose(GENERIC, generic("news", word="O'Brien <b>"), by=composer(mailctl_templates=folder)))
    assert mail.text == "Ada & O'Brien <b>\n"
    assert mail.html == "<p>Ada & O&#39;Brien &lt;b&gt;</p>\n"


def test_packaged_templates_are_listed_and_compile() -> None:
    """Every kind finds its template; parts that start with _ are not templates of their own."""
    names = COMPOSER.list_templates()
    assert {kind.template for kind in BUILT_IN_KINDS.values()} <= {*names, None}
    assert not any(name.startswith("_") for name in names)
    for name in names:
        COMPOSER.check_template(name)


def test_a_missing_variable_is_an_error_that_names_it(folder: Path) -> None:
    """No email goes out with a hole in it."""
    with pytest.raises(RenderError, match=r"^news\.html, line 1: the variable word is missing\.$") as raised:
        compose(GENERIC, generic("news"), by=composer(mailctl_templates=folder))
    assert raised.value.fix == "Set the variable (--set word=…), or correct the template."


def test_a_sign_in_without_its_address_is_an_error() -> None:
    """The packaged templates leave nothing silently empty."""
    with pytest.raises(RenderError, match="ip_address is missing"):
        compose(NEW_IP, Content(user=user()))


def test_half_a_template_is_an_error_with_its_remedy(folder: Path) -> None:
    """An own text file is never silently paired with the packaged HTML."""
    (folder / "reset.txt").write_text("Ours\n")
    content = generic("reset", reset_url="https://app.example.com/x")
    by = composer(mailctl_templates=folder)
    for attempt in (lambda: by.check_template("reset"), lambda: compose(GENERIC, content, by=by)):
        with pytest.raises(RenderError) as raised:
            attempt()
        assert raised.value.fix == "Add reset.html beside reset.txt."


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("welcome.html", "<p>Hello {{ nickname }}</p>"),
        ("welcome.html", "{% if %}"),
        ("welcome.html", "{{ user.promo }}"),
        ("welcome.html", "{% extends 'missing.html' %}"),
        ("welcome.txt", "Hello"),
        ("_base.html", "<p>No blocks</p>"),
        ("_macros.html", "{% macro other() %}{% endmacro %}"),
    ],
)
def test_a_file_of_the_service_does_not_break_a_built_in_kind(
    folder: Path, caplog: pytest.LogCaptureFixture, file: str, source: str
) -> None:
    """It was written for other variables; the email goes out with mailctl's template, and the log says so."""
    (folder / file).write_text(source)
    by = composer(mailctl_templates=folder)
    with caplog.at_level("WARNING"):
        assert compose(WELCOME, by=by).data == compose(WELCOME).data
    assert ("own template" in caplog.text) == file.startswith("welcome")
    assert bool(by.reason_against_own_template(WELCOME, sample_content(WELCOME))) == file.startswith(
        "welcome"
    )


def test_a_template_for_the_user_of_a_service_suits_a_built_in_kind(folder: Path) -> None:
    """HTML alone, with the user as an object or by name; a name that prints a link is left out."""
    (folder / "reset.html").write_text(
        "<p>{{ user.email }} {{ user.first_name }} {{ username }} {{ reset_url }}"
    )
    content = Content(user=user(first_name="Ada", username="evil.example"))
    by = composer(mailctl_templates=folder)
    mail = read(compose(RESET, content, by=by))
    assert mail.text.startswith("ada@example.com Ada https://app.example.com/reset-password?t=")
    assert by.reason_against_own_template(RESET, content) == ""


def test_an_unknown_template_is_an_error_with_the_known_ones() -> None:
    """The operator sees what there is to choose from."""
    with pytest.raises(RenderError, match="no template promo") as raised:
        compose(GENERIC, generic("promo"))
    assert "welcome" in raised.value.fix


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>\n{% if %}</p>", r"^news\.html, line 2: "),
        ("<p>\n\n{{ word|nofilter }}</p>", r"^news\.html, line 3: .*nofilter"),
        ('{% extends "_nothing.html" %}', r"^news\.html refers to _nothing\.html"),
        ('{% extends "_broken.html" %}', r"^_broken\.html, line 1: "),
    ],
)
def test_a_check_finds_the_file_and_line(folder: Path, source: str, expected: str) -> None:
    """Also when the mistake is in a file that the template builds on."""
    (folder / "news.html").write_text(source)
    (folder / "_broken.html").write_text("{% block %}")
    with pytest.raises(RenderError, match=expected):
        composer(mailctl_templates=folder).check_template("news")


@pytest.mark.parametrize(
    "source",
    [
        "{{ lookup[word] }}",
        "{{ lookup|attr(word) }}{{ lookup.x }}",
        "{{ word|int(base=99) }}{{ 1 // 0 }}",
        "{% include word %}",
        "{% if word %}{{ word }",
        "{{ reset_url.nothing }}",
        "{{ word.__class__.__mro__ }}",
        "{{ lookup.update({}) }}",
    ],
)
def test_no_error_holds_a_value(folder: Path, source: str) -> None:
    """Errors are logged and shown; tokens and addresses are not."""
    (folder / "promo.html").write_text(source)
    secret = "canary-7f3a"
    content = Content(
        user=user(email="canary@example.com"),
        context={"reset_url": f"https://app.example.com/?t={secret}", "word": secret, "lookup": {}},
        subject="Hello",
        template="promo",
    )
    with pytest.raises(MailctlError) as raised:
        compose(GENERIC, content, by=composer(mailctl_templates=folder))
    error = raised.value
    assert isinstance(error, RenderError)
    assert "promo.html" in str(error)
    assert "canary" not in str(error) + error.fix
    assert error.__suppress_context__


def test_templates_run_in_a_sandbox(folder: Path) -> None:
    """Who may write a template does not thereby run programs."""
    (folder / "news.html").write_text("{{ cycler.__init__.__globals__.os.popen('id').read() }}")
    with pytest.raises(RenderError, match="SecurityError"):
        compose(GENERIC, generic("news", word=""), by=composer(mailctl_templates=folder))


def test_an_email_that_would_be_cut_off_is_refused() -> None:
    """Gmail hides the end of a long message, which may be where its links are."""
    with pytest.raises(RenderError, match="cut it off"):
        compose(GENERIC, generic(body="x" * MAX_HTML))


def test_a_nul_in_a_body_is_refused() -> None:
    """It would end the message early in some programs."""
    with pytest.raises(RenderError, match="NUL"):
        compose(GENERIC, generic(body="a\0b"))
