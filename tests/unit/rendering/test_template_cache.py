"""Skeletons: what is filled in gives what rendering gives."""

from __future__ import annotations

from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import Environment

from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.rendering.template_cache import PLACEHOLDER_VARIABLES, TemplateCache
from mailctl.rendering.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "<p>{% if greeting_name %}Hi {{ greeting_name }}, {% endif %}{{ recipient_email }} {{ word }}</p>"
TEMPLATE = Environment(autoescape=True).from_string(SOURCE)


@pytest.mark.parametrize("name", ["", "Ada", "<b>O'Brien & Co</b>", "{{ word }}", "Zoë"])
@pytest.mark.parametrize("word", [1, True, 1.0, "<i>", None, ["a", "b"]])
def test_it_gives_what_rendering_gives(name: str, word: Any) -> None:
    """Escaped alike, with and without a name, and for values that are equal and print differently."""
    skeletons = TemplateCache(lambda _, context: TEMPLATE.render(context), wrap=fill)
    for other in (1, word):  # the first must not stand in for the second
        context = {"greeting_name": name, "recipient_email": "a@example.com", "word": other}
        assert skeletons.render(["page.html"], context) == [TEMPLATE.render(context)]


def test_what_is_the_same_is_rendered_once() -> None:
    """However many people get it."""
    calls: Counter[str] = Counter()

    def render(file: str, context: Mapping[str, Any]) -> str:
        calls[file] += 1
        return TEMPLATE.render(context)

    skeletons = TemplateCache(render, wrap=fill)
    for number in range(5):
        context = {"greeting_name": "Ada", "recipient_email": f"u{number}@example.com", "word": "x"}
        assert f"u{number}@example.com" in "".join(skeletons.render(["page.html"], context))
    assert calls == {"page.html": 1}


#: Longer than a line, with what HTML escapes, with breaks of its own, and nothing at all.
VALUES = ["Ada", "", "O'Brien & <b>", "two words", "a\nb  c", "x" * 90, "word " * 30]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "template", sorted(filter(None, {kind.template for kind in BUILT_IN_KINDS.values()} | {"message"}))
)
def test_the_packaged_templates_are_filled_in_as_they_are_rendered(template: str, value: str) -> None:
    """Their paragraphs are broken into lines after the names and addresses in them are known."""
    context: dict[str, Any] = {
        "project_name": "Shop",
        "frontend_url": "https://shop.example",
        "subject": "Hello",
        "title": "Hello",
        "body": "Some words.",
        "locale": "en",
        "expires_in": "1 hour",
    }
    first, other = (context | dict.fromkeys(PLACEHOLDER_VARIABLES, each) for each in (value and "Bob", value))
    templates = Templates(None)
    templates.render(template, first)  # the first must not stand in for the second
    found = templates.render(template, other)
    # A list is nothing that a skeleton is kept for.
    plain = templates.render(template, other | {"unused": []})
    assert (found.html, found.text) == (plain.html, plain.text)
