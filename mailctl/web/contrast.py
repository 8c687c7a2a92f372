"""Finds text in the HTML of an email whose contrast is too low (WCAG 2.2), from its styles."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.rendering.html_text import prepare_for_parser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The minimum contrast of success criterion 1.4.3, for normal and for large text.
MIN_RATIO = 4.5
MIN_RATIO_LARGE_TEXT = 3.0
#: The font size in CSS pixels from which text is large, and from which bold text is.
LARGE_PX = 24.0
LARGE_BOLD_PX = 18.66

_DARK_MEDIA = re.compile(
    r"@media[^{]*prefers-color-scheme:\s*dark[^{]*\{(?P<rules>(?:[^{}]*\{[^{}]*\})*)\s*\}"
)
_RULE = re.compile(r"(?P<selectors>[^{}]+)\{(?P<declarations>[^{}]*)\}")
_HEX = re.compile(r"#(?:[0-9a-f]{6}|[0-9a-f]{3})\b", re.IGNORECASE)
_PX = re.compile(r"([\d.]+)px")
_VOID_TAGS = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "area", "base", "wbr"})
_INVISIBLE_TAGS = frozenset({"style", "script", "title", "head"})
_BOLD_WEIGHTS = frozenset({"bold", "600", "700", "800"})
_MAX_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class LowContrastText:
    """A piece of text whose contrast is too low."""

    text: str
    color: str
    background: str
    ratio: float


@dataclass(frozen=True, kw_only=True)
class _TextStyle:
    """The style of the text in an element."""

    tag: str = ""
    color: str = "#000000"
    background: str = "#ffffff"
    font_size_px: float = 16.0
    is_bold: bool = False
    is_visible: bool = True

    @property
    def required_ratio(self) -> float:
        """The minimum contrast of the text."""
        is_large = self.font_size_px >= LARGE_PX or (self.is_bold and self.font_size_px >= LARGE_BOLD_PX)
        return MIN_RATIO_LARGE_TEXT if is_large else MIN_RATIO


def find_low_contrast(html: str, *, dark: bool) -> list[LowContrastText]:
    """Return the pieces of text whose contrast is too low, according to inline styles and classes.

    Args:
        html: the HTML of an email.
        dark: whether the rules for `prefers-color-scheme: dark` apply.
    """
    parser = _ContrastParser(_dark_rules(html) if dark else {})
    parser.feed(prepare_for_parser(html))
    parser.close()
    return parser.findings


def contrast_ratio(one: str, other: str) -> float:
    """Return the contrast ratio of two colours in the form #rgb or #rrggbb: 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


class _ContrastParser(HTMLParser):
    def __init__(self, rules: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__()
        self.findings: list[LowContrastText] = []
        self._rules = rules
        #: The styles of the open elements.
        self._styles = [_TextStyle()]

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in _VOID_TAGS:
            attributes = {name: value or "" for name, value in attrs}
            self._styles.append(self._style_of(tag, attributes, self._styles[-1]))

    @override
    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._styles) - 1, 0, -1):
            if self._styles[depth].tag == tag:
                del self._styles[depth:]
                return

    @override
    def handle_data(self, data: str) -> None:
        style, text = self._styles[-1], " ".join(data.split())
        if not text or not style.is_visible:
            return
        ratio = contrast_ratio(style.color, style.background)
        if ratio < style.required_ratio:
            self.findings.append(
                LowContrastText(
                    text=text[:_MAX_SHOWN_CHARACTERS],
                    color=style.color,
                    background=style.background,
                    ratio=round(ratio, 2),
                )
            )

    def _style_of(self, tag: str, attributes: Mapping[str, str], outer: _TextStyle) -> _TextStyle:
        styles = self._declared_styles(tag, attributes)
        size = _PX.match(styles.get("font-size", ""))
        return replace(
            outer,
            tag=tag,
            color=_color(styles.get("color"), outer.color),
            background=_color(styles.get("background-color", styles.get("background")), outer.background),
            font_size_px=float(size[1]) if size else outer.font_size_px,
            is_bold=_is_bold(tag, styles.get("font-weight", ""), outer),
            is_visible=outer.is_visible and tag not in _INVISIBLE_TAGS and styles.get("display") != "none",
        )

    def _declared_styles(self, tag: str, attributes: Mapping[str, str]) -> dict[str, str]:
        styles = dict(self._rules.get(tag, {}))
        if "bgcolor" in attributes:
            styles["background-color"] = attributes["bgcolor"]
        styles |= _declarations(attributes.get("style", ""))
        for name in attributes.get("class", "").split():
            styles |= self._rules.get(name, {})
        return styles


def _dark_rules(html: str) -> dict[str, dict[str, str]]:
    """Return the declarations for dark mode, by class or element name."""
    rules: dict[str, dict[str, str]] = {}
    for block in _DARK_MEDIA.finditer(html):
        for rule in _RULE.finditer(block["rules"]):
            for selector in rule["selectors"].split(","):
                declarations = _declarations(rule["declarations"])
                rules.setdefault(selector.strip().removeprefix("."), {}).update(declarations)
    return rules


def _declarations(text: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in text.split(";"))
    return {
        name.strip().lower(): value.replace("!important", "").strip() for name, _, value in pairs if value
    }


def _is_bold(tag: str, weight: str, outer: _TextStyle) -> bool:
    return weight in _BOLD_WEIGHTS if weight else outer.is_bold or tag in ("b", "strong")


def _color(value: str | None, inherited: str) -> str:
    match = _HEX.match(value or "")
    return match[0] if match else inherited


def _luminance(color: str) -> float:
    digits = color.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
