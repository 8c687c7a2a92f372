"""Times, lengths of time and numbers as a diagnosis says them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mailctl.moments import count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["command", "count", "moment", "names"]

_MOST_NAMES = 3


def moment(at: datetime) -> str:
    """Return a time, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def names(found: Iterable[str]) -> str:
    """Return some names, and how many more there are."""
    every = list(found)
    more = len(every) - _MOST_NAMES
    return ", ".join(every[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def command(*arguments: str) -> str:
    """Return a mailctl command to copy, quoted: ids and names may come from other programs."""
    return f"mailctl {shlex.join(arguments)}"
