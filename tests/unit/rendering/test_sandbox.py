"""A service's own templates run in a sandbox: they reach nothing outside, and mistakes cost one email."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import RenderError
from mailctl.rendering import sandbox
from mailctl.rendering.templates import MAX_BODY, Templates

if TYPE_CHECKING:
    from pathlib import Path


def rendered(folder: Path, source: str, **context: object) -> str:
    (folder / "own.html").write_text(source)
    (folder / "own.txt").write_text("x")
    return Templates(folder).render("own", context).html


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(1000000) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}more {% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'own.html' %}",
    ],
)
def test_a_template_that_produces_too_much_fails(tmp_path: Path, source: str) -> None:
    """The email fails, and the error names the template."""
    with pytest.raises(RenderError, match=r"own\.html"):
        rendered(tmp_path, source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in words %}{% for b in words %}{% for c in words %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m(x) %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endmacro %}"
        "{% for a in words %}{% set x = m(words) %}{% endfor %}",
        "{% for a in words %}{% for b in words if b %}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_takes_too_long_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Also in loops that print nothing, over whatever they go."""
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.05)
    with pytest.raises(RenderError, match="too long"):
        rendered(tmp_path, source, words=["x"] * 5000)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ 10 ** 12 * [1] }}",
        "{% set n = 2 ** 900000 %}{{ n * n * n }}",
        "{% if 3 ** (9 ** 99) %}{% endif %}",
    ],
)
def test_a_value_that_is_too_large_is_not_made(tmp_path: Path, source: str) -> None:
    """Nothing could interrupt the worker while it computes one."""
    with pytest.raises(RenderError, match="too large"):
        rendered(tmp_path, source)


def test_the_time_limit_ends_with_the_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next body has the full time again."""
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.05)
    with pytest.raises(RenderError):
        rendered(tmp_path, "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}")
    assert rendered(tmp_path, "{% for i in range(3) %}{{ i }}{% endfor %}") == "012"


def test_a_body_has_a_limit_while_it_is_rendered(tmp_path: Path) -> None:
    """Rendering stops at the limit."""
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
def test_a_template_cannot_leave_the_sandbox(tmp_path: Path, source: str) -> None:
    """It reaches neither Python nor other files."""
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
        ("{{ 2 ** -1 }}{{ 1.5 * 2 }}{{ 2 ** 10 }}{{ 'ab' * -1 }}{{ true * 'a' }}", "0.53.01024a"),
        ("{% for i in range(3) %}{{ i }}{{ '.' if loop.last }}{% endfor %}", "012."),
        ("{% for w in words %}{{ loop.index }}/{{ loop.length }}{{ w }}{% endfor %}", "1/2a2/2b"),
        ("{% for w in words if w != 'a' %}{{ w }}{% else %}none{% endfor %}", "b"),
        ("{% for w in [] %}{{ w }}{% else %}none{% endfor %}", "none"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        (
            "{% for x in [1, [2, [3]]] recursive %}"
            "{% if x is iterable %}{{ loop(x) }}{% else %}{{ x }}{% endif %}{% endfor %}",
            "123",
        ),
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
def test_usual_templates_render(tmp_path: Path, source: str, expected: str) -> None:
    """The limits do not concern them."""
    assert rendered(tmp_path, source, words=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Zoë", "Zoë"), ("evil.com", ""), ("<b>", ""), ("{{ 7*7 }}", ""), (None, ""), (7, "")],
)
def test_the_filter_name_drops_unsafe_names(tmp_path: Path, name: object, expected: str) -> None:
    """Strangers choose names; the greeting follows the same rule."""
    assert rendered(tmp_path, "{{ inviter|name }}", inviter=name) == expected


def test_data_is_never_a_template(tmp_path: Path) -> None:
    """A variable that contains template syntax is printed unchanged."""
    assert rendered(tmp_path, "{{ words }}", words="{{ 7*7 }}{% raw %}") == "{{ 7*7 }}{% raw %}"


def test_the_variables_of_a_template_are_listed(tmp_path: Path) -> None:
    """Those of both files and every branch, without the ones that the template defines."""
    (tmp_path / "own.html").write_text(
        "{% set a = b %}{{ a }}{% if c %}{{ d }}{% endif %}{% include 'part.html' %}"
    )
    (tmp_path / "part.html").write_text("{{ e }}")
    (tmp_path / "own.txt").write_text("{% for f in range(3) %}{{ f }}{% endfor %}{{ g }}")
    assert Templates(tmp_path).variables("own") == {"b", "c", "d", "e", "g"}
