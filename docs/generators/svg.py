"""Boxes and arrows as SVG that takes the colours of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_STYLE = "font:13px system-ui,sans-serif"


@dataclass(frozen=True)
class Box:
    """A rectangle with a label."""

    label: str
    x: float
    y: float
    width: float
    height: float = 28

    @property
    def middle(self) -> float:
        """The centre, from the left."""
        return self.x + self.width / 2


@dataclass
class Drawing:
    """A picture that grows from the top."""

    width: float
    height: float
    title: str
    _parts: list[str] = field(default_factory=list)

    def box(self, box: Box, *, note: str = "", is_dashed: bool = False) -> None:
        """Draw a box; `note` shows when the pointer rests on it."""
        dash = ' stroke-dasharray="4 3"' if is_dashed else ""
        self._parts.append(
            f'<g><title>{escape(note or box.label)}</title><rect x="{box.x:g}" y="{box.y:g}" rx="5"'
            f' width="{box.width:g}" height="{box.height:g}" fill="none" stroke="currentColor"{dash}/>'
            f'<text x="{box.middle:g}" y="{box.y + 18:g}" text-anchor="middle" fill="currentColor">'
            f"{escape(box.label)}</text></g>"
        )

    def arrow(self, path: str, *, note: str = "", opacity: float = 0.5) -> None:
        """Draw an arrow along a path."""
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="currentColor" opacity="{opacity:g}"'
            f' marker-end="url(#tip)"><title>{escape(note)}</title></path>'
        )

    def text(self, x: float, y: float, words: str) -> None:
        """Write a few words."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" fill="currentColor">{escape(words)}</text>')

    def html(self) -> str:
        """Return it as a figure for a page, without an empty line, which would end it."""
        tip = (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
            ' orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" style="{_STYLE};max-width:100%;height:auto"'
            f' viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}"'
            f' aria-label="{escape(self.title)}">'
        )
        return "\n".join(["<figure>", head, tip, *self._parts, "</svg>", "</figure>"]) + "\n"
