"""Templates of the service and of mailctl: which one is used, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, NEW_IP, RESET, WELCOME
from mailctl.domain.models import Content
from mailctl.domain.samples import sample_content
from mailctl.errors import MailctlError, RenderError
from tests.unit.rendering.composing import COMPOSER, compose, composer, generic, read, user

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the service's own templates with one pair in it."""
    (tmp_path / "news.html").write_text("<p>{{ greeting_name }} & {{ word }}</p>\n", encoding="utf-8")
    (tmp_path / "news.txt").write_text("{{ greeting_name }} & {{ word }}\n", encoding="utf-8")
    return tmp_path


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


@pytest.mark.parametrize(
    ("source", "is_usable"),
    [
        ("{{ brand|default('Acme') }}", True),
        ("{% if brand is defined %}{{ brand }}{% endif %}", True),
        ("{% if not user %}{{ brand }}{% endif %}", False),
    ],
)
def test_a_template_may_provide_for_a_variable_that_is_missing(
    folder: Path, source: str, is_usable: bool
) -> None:
    """A built-in kind uses it; not one with a name that looks wrong, even where no email gets to it."""
    (folder / "welcome.html").write_text(f"<p>Hello {source}")
    by = composer(mailctl_templates=folder)
    assert (by.reason_against_own_template(WELCOME, sample_content(WELCOME)) == "") is is_usable


def test_an_unknown_template_is_an_error_with_the_known_ones() -> None:
    """The operator sees what there is to choose from."""
    with pytest.raises(RenderError, match="no template 'promo'") as raised:
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


@pytest.mark.parametrize(("locale", "language"), [("ar", "en"), ("pt-BR", "en"), ("en-GB", "en-GB")])
def test_the_language_of_a_built_in_kind_is_that_of_its_text(locale: str, language: str) -> None:
    """English, also for a user of another language: it must not be read from right to left."""
    mail = read(compose(RESET, Content(user=user(), context={"locale": locale})))
    assert f'<html lang="{language}" dir="ltr">' in mail.html
    assert mail.message["Content-Language"] == language


def test_the_language_of_an_own_template_is_that_of_the_user(folder: Path) -> None:
    """The service writes its text, and so that of a generic email."""
    hello = "\u0645\u0631\u062d\u0628\u0627"
    text = f'{{% extends "_base.html" %}}{{% block content %}}<p>{hello}</p>{{% endblock %}}'
    (folder / "welcome.html").write_text(text, encoding="utf-8")
    own = Content(user=user(), context={"locale": "ar"})
    given = generic(
        locale="ar", title="\u0645\u0631\u062d\u0628\u0627", body="\u0645\u0631\u062d\u0628\u0627"
    )
    for mail in (
        read(compose(WELCOME, own, by=composer(mailctl_templates=folder))),
        read(compose(GENERIC, given)),
    ):
        assert '<html lang="ar" dir="rtl">' in mail.html
        assert mail.message["Content-Language"] == "ar"
