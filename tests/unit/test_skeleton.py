"""Skeletons: what is filled in gives what rendering gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import Environment

from mailctl.skeleton import Skeletons

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "<p>{% if greeting_name %}Hi {{ greeting_name }}, {% endif %}{{ recipient_email }} {{ word }}</p>"
TEMPLATE = Environment(autoescape=True).from_string(SOURCE)


@pytest.mark.parametrize("name", ["", "Ada", "<b>O'Brien & Co</b>", "{{ word }}", "Zoë"])
@pytest.mark.parametrize("word", [1, True, 1.0, "<i>", None, ["a", "b"]])
def test_it_gives_what_rendering_gives(name: str, word: Any) -> None:
    """Escaped alike, with and without a name, and for values that are equal and print differently."""
    skeletons = Skeletons(lambda _, context: TEMPLATE.render(context))
    for other in (1, word):  # the first must not stand in for the second
        context = {"greeting_name": name, "recipient_email": "a@example.com", "word": other}
        assert skeletons.render("page.html", context) == TEMPLATE.render(context)


def test_what_is_the_same_is_rendered_once() -> None:
    """However many people get it."""
    calls: Counter[str] = Counter()

    def render(file: str, context: Mapping[str, Any]) -> str:
        calls[file] += 1
        return TEMPLATE.render(context)

    skeletons = Skeletons(render)
    for number in range(5):
        context = {"greeting_name": "Ada", "recipient_email": f"u{number}@example.com", "word": "x"}
        assert f"u{number}@example.com" in skeletons.render("page.html", context)
    assert calls == {"page.html": 1}
