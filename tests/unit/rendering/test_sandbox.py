"""Templates that are not ours: no way out, and slips that cost an email and not a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import RenderError
from mailctl.rendering import sandbox
from mailctl.rendering.templates import MAX_BODY, Templates

if TYPE_CHECKING:
    from pathlib import Path


#: A text that gets twice as long sixty times, and is not printed.
_DOUBLED = "{{% set ns = namespace(x='xx') %}}{{% for i in range(60) %}}{{% set ns.x = {} %}}{{% endfor %}}"


def rendered(folder: Path, source: str, **context: object) -> str:
    (folder / "own.html").write_text(source)
    (folder / "own.txt").write_text("x")
    return Templates(folder).render("own", context).html


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ [1] * 99999999 }}",
        "{{ 2 ** 99999999 }}",
        "{{ '%1000000000d' % 3 }}",
        "{{ '%1000000000d'|format(3) }}",
        "{{ '{:1000000000}'.format(3) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 'a'|indent(1000000000) }}",
        "{% for i in range(1000000) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}more {% endfor %}{% endfor %}",
        _DOUBLED.format("ns.x ~ ns.x"),
        _DOUBLED.format("ns.x + ns.x"),
        _DOUBLED.format("[ns.x, ns.x]|join"),
        _DOUBLED.format("','.join([ns.x, ns.x])"),
        _DOUBLED.format("'%s%s'|format(ns.x, ns.x)"),
        _DOUBLED.format("'%s%s' % (ns.x, ns.x)"),
        _DOUBLED.format("'{}{}'.format(ns.x, ns.x)"),
        _DOUBLED.format("ns.x|replace('x', 'xx')"),
        _DOUBLED.format("ns.x.replace('x', 'xx')"),
        "{% set x = 'x' * 99999 %}{{ x|replace('x', x) }}",
        "{% set x = 'x' * 99999 %}{{ x.replace('x', x) }}",
        "{% set x = 'x' * 99999 %}{{ ('%s' * 9999)|format(x) }}",
        "{% set x = 'x' * 99999 %}{{ x.join([x] * 9999) }}",
        "{{ 'x'.translate({120: 'y'}) }}",
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}" + _DOUBLED.format("m(ns.x)"),
        "{% set ns = namespace(x='xx') %}{% for i in range(60) %}"
        "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
    ],
)
def test_what_would_make_too_much_is_refused(tmp_path: Path, source: str) -> None:
    """At once, and the email fails with the line of the template."""
    with pytest.raises(RenderError, match=r"own\.html"):
        rendered(tmp_path, source)


def test_loops_in_loops_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that print nothing."""
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.1)
    with pytest.raises(RenderError, match="too long"):
        rendered(tmp_path, "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}")


def test_a_body_has_a_limit_while_it_is_made(tmp_path: Path) -> None:
    """Not only when it is done."""
    with pytest.raises(RenderError, match=str(MAX_BODY)):
        rendered(tmp_path, "{% for word in words %}{{ word }}{% endfor %}", words=["x" * 1000] * 300)


@pytest.mark.parametrize(
    "source",
    [
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ words.append(1) }}",
        "{{ '{0.__class__}'.format(words) }}",
        "{% include '/etc/passwd' %}",
        "{% include '../../../etc/passwd' %}",
    ],
)
def test_there_is_no_way_out(tmp_path: Path, source: str) -> None:
    """Neither into Python nor to other files."""
    with pytest.raises(RenderError):
        rendered(tmp_path, source, words=[1])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 250000 * 3 }}", "750000"),
        ("{{ '%s EUR'|format(250000) }}", "250000 EUR"),
        ("{{ '{} EUR'.format(250000) }}", "250000 EUR"),
        ("{{ 'a'|center(5) }}", "  a  "),
        ("{{ 'ab' * 3 }}", "ababab"),
        ("{% for i in range(3) %}{{ i }}{{ '.' if loop.last }}{% endfor %}", "012."),
        ("{{ '%d%%' % 5 }}", "5%"),
        ("{{ 7 % 3 }}", "1"),
        ("{{ (7 + 3) ~ '!' ~ words|join(', ') }}", "10!a, b"),
        ("{{ ', '.join(words|map('upper')) }}", "A, B"),
        ("{{ 'aXb'|replace('X', '-') ~ 'aXb'.replace('X', '+') }}", "a-ba+b"),
        ("{{ ['<b>'|safe, '<']|join('&') }}", "<b>&amp;&lt;"),
        ("{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m('<') }}", "<i>&lt;</i>"),
        ("{% set x %}<b>{{ '<' }}</b>{% endset %}{{ x }}", "<b>&lt;</b>"),
    ],
)
def test_what_emails_need_works(tmp_path: Path, source: str, expected: str) -> None:
    """Limits are far from what anybody writes."""
    assert rendered(tmp_path, source, words=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Zoë", "Zoë"), ("evil.com", ""), ("<b>", ""), ("{{ 7*7 }}", ""), (None, ""), (7, "")],
)
def test_names_that_strangers_chose_are_printed_safely(tmp_path: Path, name: object, expected: str) -> None:
    """By the filter `name`, as the greeting is."""
    assert rendered(tmp_path, "{{ inviter|name }}", inviter=name) == expected


def test_data_is_never_a_template(tmp_path: Path) -> None:
    """Whatever is in it, it is printed as it is."""
    assert rendered(tmp_path, "{{ words }}", words="{{ 7*7 }}{% raw %}") == "{{ 7*7 }}{% raw %}"


def test_the_variables_of_a_template_are_known(tmp_path: Path) -> None:
    """Of both files, in every branch, without what they define themselves."""
    (tmp_path / "own.html").write_text(
        "{% set a = b %}{{ a }}{% if c %}{{ d }}{% endif %}{% include 'part.html' %}"
    )
    (tmp_path / "part.html").write_text("{{ e }}")
    (tmp_path / "own.txt").write_text("{% for f in range(3) %}{{ f }}{% endfor %}{{ g }}")
    assert Templates(tmp_path).variables("own") == {"b", "c", "d", "e", "g"}
