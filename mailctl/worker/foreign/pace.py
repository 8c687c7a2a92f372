"""When messages that are too many to be kept go back: all of a queue at once, and then a pause.

What is behind them is reached at the broker's speed, and a queue that holds nothing else does not spin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between one pass through a queue and the next.
PAUSE_SECONDS = 1.0


@dataclass
class _Pass:
    """A pass through a queue."""

    starts_at: float = 0.0
    #: Messages that still go back in it.
    left: int = 0


class Pace:
    """Decides when messages go back that are not kept.

    Args:
        depth: returns how many messages a queue has; asked once for each pass.
    """

    def __init__(self, depth: Callable[[str], int]) -> None:
        self._depth = depth
        self._passes: dict[str, _Pass] = {}

    def due(self, queue: str, *, now: float) -> float:
        """Return when the next message of a queue goes back."""
        current = self._passes.get(queue)
        if current is None or current.left <= 0:
            starts_at = now if current is None else max(now, current.starts_at) + PAUSE_SECONDS
            # This message, which was the first of the queue, and those behind it.
            current = self._passes[queue] = _Pass(starts_at=starts_at, left=1 + self._depth(queue))
        current.left -= 1
        return current.starts_at
