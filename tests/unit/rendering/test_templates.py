"""Templates are pairs of files, the service's own before the built-in ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import RenderError
from mailctl.rendering.templates import MAX_HTML, TEXT_WIDTH, Templates

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, **files: str) -> Templates:
    for name, source in files.items():
        stem, _, extension = name.rpartition("_")
        (folder / f"{stem}.{extension}").write_text(source)
    return Templates(folder)


def test_own_templates_come_before_the_built_in_ones(tmp_path: Path) -> None:
    """And in the list of names."""
    templates = write(tmp_path, news_html="<p>{{ word }}</p>", news_txt="{{ word }}")
    assert templates.names()[0] == "news"
    assert "reset" in templates.names()
    bodies = templates.render("news", {"word": "a < b"})
    assert (bodies.html, bodies.text) == ("<p>a &lt; b</p>", "a < b")


def test_other_files_are_not_templates(tmp_path: Path) -> None:
    """Their names are not listed."""
    templates = write(tmp_path, news_html="x", README_md="x", _layout_html="x")
    assert "news" in templates.names()
    assert not {"README", "_layout"} & set(templates.names())


def test_templates_may_be_in_folders(tmp_path: Path) -> None:
    """Their names are paths, and they find each other by these."""
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / "Welcome_v2.html").write_text(
        "{% extends 'base.html' %}{% block body %}Hi{% endblock %}"
    )
    (tmp_path / "base.html").write_text("<p>{% block body %}{% endblock %}</p>")
    templates = Templates(tmp_path)
    assert templates.names()[:2] == ["auth/Welcome_v2", "base"]
    assert templates.render("auth/Welcome_v2", {}).html == "<p>Hi</p>"


def test_without_a_text_file_the_text_is_made_from_the_html(tmp_path: Path) -> None:
    """With the links after their labels."""
    html = (
        "<html><head><style>p{}</style></head><body><table><tr><td>Hello</td><td>{{ name }}</td></tr></table>"
        "<p><a href='{{ url }}'>Open</a></p></body></html>"
    )
    templates = write(tmp_path, news_html=html)
    bodies = templates.render("news", {"name": "O'Brien & <b>", "url": "https://x.example/?a=1&b=2"})
    assert bodies.text == "Hello O'Brien & <b>\n\nOpen <https://x.example/?a=1&b=2>\n"
    assert "O&#39;Brien &amp; &lt;b&gt;" in bodies.html
    assert not templates.has_text_file("news")


def test_built_in_templates_use_no_file_of_the_service(tmp_path: Path) -> None:
    """Its _base.html may have other blocks."""
    own = write(tmp_path, _base_html="<p>ours</p>", _macros_html="", news_html="{% extends '_base.html' %}")
    context = {
        "project_name": "Acme",
        "frontend_url": "https://x.example",
        "subject": "Hi",
        "greeting_name": "",
        "recipient_email": "zoe@example.com",
        "locale": "en",
        "action_url": "https://x.example",
    }
    assert own.render("welcome", context) == Templates(None).render("welcome", context)
    assert own.render("news", {}).html == "<p>ours</p>"


def test_a_missing_variable_may_be_tested(tmp_path: Path) -> None:
    """As Jinja allows; it must not be printed."""
    source = "{% if promo %}{{ promo }}{% endif %}{{ user.nick or 'you' }}{% if user.a %}x{% endif %}"
    assert write(tmp_path, news_html=source).render("news", {"user": {}}).html == "you"
    with pytest.raises(RenderError, match="the variable promo is missing"):
        write(tmp_path, news_html="{{ promo }}").render("news", {})


def test_a_name_that_does_not_exist_is_refused_with_the_others(tmp_path: Path) -> None:
    """A path is not a name."""
    templates = write(tmp_path, news_html="x", news_txt="x")
    for name in ("nope", "../news", "news.html"):
        with pytest.raises(RenderError, match="There is no template") as caught:
            templates.check(name)
        assert "news" in caught.value.fix


def test_a_text_file_needs_its_html(tmp_path: Path) -> None:
    """The built-in file of the same name does not replace it."""
    with pytest.raises(RenderError, match=r"reset\.txt has no reset\.html"):
        write(tmp_path, reset_txt="x").render("reset", {})


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ word }}", r"own\.html, line 2: the variable word is missing"),
        ("{{ 1 / 0 }}", r"own\.html, line 2: it cannot be rendered because of ZeroDivisionError"),
        ("{% include part %}", r"it refers to a template that does not exist"),
        ("{{ (1 }}", r"own\.html, line 2: "),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, source: str, problem: str) -> None:
    """But no value."""
    templates = write(tmp_path, own_html=f"<p>\n{source}", own_txt="x")
    with pytest.raises(RenderError, match=problem) as caught:
        templates.render("own", {"part": "secret.html"})
    assert "secret" not in f"{caught.value}{caught.value.fix}"


def test_an_error_in_an_included_file_names_both(tmp_path: Path) -> None:
    """The file that was rendered, and the place of the error."""
    templates = write(tmp_path, own_html="{% include 'part.html' %}", own_txt="x", part_html="\n\n{{ word }}")
    with pytest.raises(RenderError, match=r"own\.html \(part\.html, line 3\)"):
        templates.render("own", {})


def test_a_check_finds_references_that_do_not_exist(tmp_path: Path) -> None:
    """Before an email needs them."""
    with pytest.raises(RenderError, match=r"own\.html refers to part\.html"):
        write(tmp_path, own_html="{% include 'part.html' %}", own_txt="x").check("own")


def test_html_that_mail_clients_would_cut_off_is_refused(tmp_path: Path) -> None:
    """In bytes, as mail clients count."""
    templates = write(tmp_path, own_html="{{ 'é' * n }}", own_txt="x")
    assert len(templates.render("own", {"n": MAX_HTML // 2}).html) == MAX_HTML // 2
    with pytest.raises(RenderError, match=f"{MAX_HTML + 2} bytes"):
        templates.render("own", {"n": MAX_HTML // 2 + 1})


def test_paragraphs_are_wrapped_at_spaces(tmp_path: Path) -> None:
    """A long word, such as a link, stays whole."""
    templates = write(tmp_path, own_html="x", own_txt="{{ text|paragraph }}")
    link = "https://app.example.com/" + "x" * 100
    text = templates.render("own", {"text": f"{'word ' * 40}{link}"}).text
    *lines, last = text.removesuffix("\n\n").split("\n")
    assert max(map(len, lines)) <= TEXT_WIDTH
    assert last == link
