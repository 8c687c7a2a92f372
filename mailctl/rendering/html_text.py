"""Converts HTML to plain text."""

from __future__ import annotations

import re
from collections import Counter
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
#: A `<` that begins no tag with an end; the quantifiers are possessive or bounded, so the time is linear.
_LOOSE = re.compile(
    r"""<(?!/?[A-Za-z](?:[^<>"']|"[^"<]*+"|'[^'<]*+'|"[^"]{0,300}+"|'[^']{0,300}+'){0,4096}+>)"""
)
#: The beginning of a comment, of a declaration or of a processing instruction.
_DECLARATION = re.compile(r"<!--|<[!?]")
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def html_to_text(html: str) -> str:
    """Return the visible text of HTML, with blank lines between paragraphs and URLs after their links."""
    reader = _TextExtractor()
    reader.feed(prepare_for_parser(html))
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def prepare_for_parser(html: str) -> str:
    """Return HTML that html.parser reads in a time linear to its length: without what has no end.

    It looks for the end of each comment, declaration and tag separately: 180 kB of `<!--` take it seconds,
    and of `<a` minutes; of `<![` it takes none. Comments and declarations are left out, and a `<` that begins
    no tag with an end is text.
    """
    return _LOOSE.sub("&lt;", _without_declarations(html))


def _without_declarations(html: str) -> str:
    pieces: list[str] = []
    position = 0
    while found := _DECLARATION.search(html, position):
        pieces.append(html[position : found.start()])
        position = _end_of_declaration(html, found)
        if position < 0:
            return "".join(pieces)  # it reaches to the end of the document (HTML, section 13.2.5)
    return "".join([*pieces, html[position:]])


def _end_of_declaration(html: str, start: re.Match[str]) -> int:
    """Return where a comment or declaration ends; -1 if nowhere."""
    if start[0] != "<!--":
        return html.find(">", start.end()) + 1 or -1
    for abrupt in (">", "->"):
        if html.startswith(abrupt, start.end()):
            return start.end() + len(abrupt)
    end = html.find("-->", start.end())
    return end if end < 0 else end + len("-->")


class _TextExtractor(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        #: Open elements that are hidden, the outermost first.
        self._hidden_stack: list[str] = []
        self._hidden_counts: Counter[str] = Counter()
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
            self._hidden_counts[tag] += 1
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
            self._close_hidden(tag)
            return
        if tag == "a":
            label = "".join(self.pieces[self._link_starts :]).strip()
            if self._link and self._link != label:
                self.pieces.append(f" <{self._link}>")
            self._link = ""
        self._break(tag)

    def _close_hidden(self, tag: str) -> None:
        """Close a hidden element and those in it; an end tag without an element changes nothing."""
        is_closed = not self._hidden_counts[tag]
        while not is_closed:
            closed = self._hidden_stack.pop()
            self._hidden_counts[closed] -= 1
            is_closed = closed == tag

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden_stack:
            self.pieces.append(" ".join(re.split(r"\s+", data)))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.pieces.append("\n\n")
        elif tag in _BREAKS:
            self.pieces.append("\n")
