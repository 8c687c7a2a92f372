"""How well the words of an email can be read: contrast by WCAG 2.2, from the styles in its HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What success criterion 1.4.3 asks of ordinary and of large text.
MIN_RATIO = 4.5
MIN_RATIO_LARGE_TEXT = 3.0
#: CSS pixels from which text is large: of any weight, and bold.
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
_MAX_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class LowContrastText:
    """Words that are hard to read."""

    text: str
    color: str
    background: str
    ratio: float


@dataclass(frozen=True, kw_only=True)
class _TextStyle:
    """What an element gives to its words."""

    tag: str = ""
    color: str = "#000000"
    background: str = "#ffffff"
    font_size_px: float = 16.0
    is_bold: bool = False
    is_visible: bool = True

    @property
    def required_ratio(self) -> float:
        """The contrast that its words need."""
        is_large = self.font_size_px >= LARGE_PX or (self.is_bold and self.font_size_px >= LARGE_BOLD_PX)
        return MIN_RATIO_LARGE_TEXT if is_large else MIN_RATIO


def find_low_contrast(html: str, *, dark: bool) -> list[LowContrastText]:
    """Return the words whose contrast is too low, as far as inline styles and classes tell.

    Args:
        dark: as a reader who prefers dark sees it.
    """
    reader = _ContrastParser(_dark_classes(html) if dark else {})
    reader.feed(html)
    reader.close()
    return reader.found


def contrast_ratio(one: str, other: str) -> float:
    """Return the contrast of two colours written as #rgb or #rrggbb: 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


class _ContrastParser(HTMLParser):
    def __init__(self, classes: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__()
        self.found: list[LowContrastText] = []
        self._classes = classes
        self._styles = [_TextStyle()]

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in _VOID_TAGS:
            given = {name: value or "" for name, value in attrs}
            self._styles.append(self._style_of(tag, given, self._styles[-1]))

    @override
    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self._styles) - 1, 0, -1):
            if self._styles[place].tag == tag:
                del self._styles[place:]
                return

    @override
    def handle_data(self, data: str) -> None:
        look, words = self._styles[-1], " ".join(data.split())
        if not words or not look.is_visible:
            return
        found = contrast_ratio(look.color, look.background)
        if found < look.required_ratio:
            self.found.append(
                LowContrastText(
                    text=words[:_MAX_SHOWN_CHARACTERS],
                    color=look.color,
                    background=look.background,
                    ratio=round(found, 2),
                )
            )

    def _style_of(self, tag: str, given: Mapping[str, str], outer: _TextStyle) -> _TextStyle:
        styles = {"background-color": given["bgcolor"]} if "bgcolor" in given else {}
        styles |= _declarations(given.get("style", ""))
        for name in given.get("class", "").split():
            styles |= self._classes.get(name, {})
        styles = dict(self._classes.get(tag, {})) | styles
        size = _PX.match(styles.get("font-size", ""))
        weight = styles.get("font-weight", "")
        is_bold = (
            weight in ("bold", "600", "700", "800") if weight else outer.is_bold or tag in ("b", "strong")
        )
        return replace(
            outer,
            tag=tag,
            color=_color(styles.get("color"), outer.color),
            background=_color(styles.get("background-color", styles.get("background")), outer.background),
            font_size_px=float(size[1]) if size else outer.font_size_px,
            is_bold=is_bold,
            is_visible=outer.is_visible and tag not in _INVISIBLE_TAGS and styles.get("display") != "none",
        )


def _dark_classes(html: str) -> dict[str, dict[str, str]]:
    """Return what the rules for dark say, by class or element."""
    found: dict[str, dict[str, str]] = {}
    for block in _DARK_MEDIA.finditer(html):
        for rule in _RULE.finditer(block["rules"]):
            for selector in rule["selectors"].split(","):
                declared = _declarations(rule["declarations"])
                found.setdefault(selector.strip().removeprefix("."), {}).update(declared)
    return found


def _declarations(text: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in text.split(";"))
    return {
        name.strip().lower(): value.replace("!important", "").strip() for name, _, value in pairs if value
    }


def _color(value: str | None, outer: str) -> str:
    found = _HEX.match(value or "")
    return found[0] if found else outer


def _luminance(color: str) -> float:
    digits = color.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    shares = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
