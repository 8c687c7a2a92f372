"""Small charts of block characters: bars for shares, sparklines for time series."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def bar(share: float, *, width: int) -> str:
    """Return a horizontal bar, accurate to an eighth of a cell.

    Args:
        share: from 0 to 1; any share above 0 gets at least an eighth of a cell.
        width: cells of the bar for a share of 1.
    """
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).rstrip()


def sparkline(values: Sequence[float]) -> str:
    """Return one character per value, scaled to the largest; zero is a blank."""
    greatest = max(values, default=0)
    return "".join(_HEIGHTS[min(7, int(value / greatest * 8))] if value > 0 else " " for value in values)
