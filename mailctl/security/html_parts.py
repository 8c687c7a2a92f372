"""The parts of an HTML source: texts, attributes and styles, each masked in its own way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: A comment, a style sheet, or a tag. What is malformed counts as text, and what is not closed as text to the
#: end: so nothing is searched for its end twice, however hostile the source is.
_MARKUP = re.compile(
    r"<!--(?P<comment>.*?)(?P<end>-->|\Z)"
    r"|(?P<style><style\b[^<>]*>.*?(?:(?P<closing></style\s*>)|\Z))"
    r"|(?P<tag></?[a-z!?][^<>]*>)",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"""(?<![\w:.-])(?P<name>[\w:.-]+)(?P<equals>\s*=\s*)(?P<value>"[^"]*"|'[^']*'|[^\s"'>]+)"""
)
#: Attributes that say how something looks.
_STYLE_ATTRIBUTES = frozenset(
    (
        *("align", "bgcolor", "border", "bordercolor", "cellpadding", "cellspacing", "class", "color"),
        *("face", "height", "id", "size", "style", "valign", "width"),
    )
)


def mask_html(source: str, *, text: Callable[[str], str], style: Callable[[str], str]) -> str:
    """Return HTML in which texts, links and other values are masked, and styles in their own way.

    Args:
        source: the HTML.
        text: masks a text, or the value of an attribute.
        style: masks a style sheet, or the value of an attribute that says how something looks.
    """
    parts, end = [], 0
    for found in _MARKUP.finditer(source):
        parts.append(text(source[end : found.start()]))
        end = found.end()
        if found["end"]:
            # Mail programs of Microsoft read HTML in comments, which hold no other comments.
            parts.append(f"<!--{mask_html(found['comment'], text=text, style=style)}-->")
        elif found["closing"]:
            parts.append(style(found["style"]))
        elif found["tag"] is None:
            parts.append(text(found[0]))
        else:
            parts.append(_mask_tag(found["tag"], text=text, style=style))
    return "".join([*parts, text(source[end:])])


def _mask_tag(tag: str, *, text: Callable[[str], str], style: Callable[[str], str]) -> str:
    def mask_attribute(found: re.Match[str]) -> str:
        mask = style if found["name"].lower() in _STYLE_ATTRIBUTES else text
        return f"{found['name']}{found['equals']}{mask(found['value'])}"

    return _ATTRIBUTE.sub(mask_attribute, tag)
