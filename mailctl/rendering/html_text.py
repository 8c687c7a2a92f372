"""Converts HTML to plain text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from typing_extensions import override

_BREAKS = frozenset({"br", "tr", "div", "table", "ul", "ol", "li", "hr", "blockquote", "pre", "section"})
_CELLS = frozenset({"td", "th"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
_HIDDEN_ELEMENTS = frozenset({"head", "style", "script", "title", "template"})
#: Elements without an end tag.
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def html_to_text(html: str) -> str:
    """Return the visible text of HTML, with blank lines between paragraphs and URLs after their links."""
    reader = _TextExtractor()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _TextExtractor(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        #: Open elements that are hidden, the outermost first.
        self._hidden_stack: list[str] = []
        self._link = ""
        self._link_starts = 0

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_hidden = (
            tag in _HIDDEN_ELEMENTS
            or "hidden" in given
            or bool(_HIDDEN_STYLE.search(given.get("style") or ""))
        )
        if (self._hidden_stack or is_hidden) and tag not in _VOID:
            self._hidden_stack.append(tag)
        if self._hidden_stack:
            return
        self._break(tag)
        if tag == "a":
            self._link, self._link_starts = given.get("href") or "", len(self.pieces)
        elif tag == "li":
            self.pieces.append("- ")
        elif tag in _CELLS:
            self.pieces.append(" ")
        elif tag == "img" and given.get("alt"):
            self.pieces.append(f"[{given['alt']}]")

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return  # of <br/>, which has broken the line already
        if self._hidden_stack:
            if tag in self._hidden_stack:
                del self._hidden_stack[len(self._hidden_stack) - 1 - self._hidden_stack[::-1].index(tag) :]
            return
        if tag == "a":
            label = "".join(self.pieces[self._link_starts :]).strip()
            if self._link and self._link != label:
                self.pieces.append(f" <{self._link}>")
            self._link = ""
        self._break(tag)

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden_stack:
            self.pieces.append(" ".join(re.split(r"\s+", data)))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.pieces.append("\n\n")
        elif tag in _BREAKS:
            self.pieces.append("\n")
