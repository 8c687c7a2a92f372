"""Small charts of block characters: a bar for a share, a line of bars for a course of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def bar(share: float, *, width: int) -> str:
    """Return a bar as long as a share (0 to 1) of `width` cells, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).rstrip()


def sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value, the greatest as high as a line; only for nothing there is none."""
    greatest = max(values, default=0)
    return "".join(_HEIGHTS[min(7, int(value / greatest * 8))] if value > 0 else " " for value in values)
