"""The pace at which overflow messages go back: one pass through the whole queue, then a pause.

Within a pass, the worker reaches the messages behind them as fast as the broker delivers. The pause keeps it
from spinning on a queue that holds nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two passes through a queue.
PAUSE_SECONDS = 1.0


@dataclass
class _Pass:
    """One pass through a queue."""

    starts_at: float = 0.0
    #: The number of messages that still belong to it.
    remaining: int = 0


class RequeuePace:
    """Decides when each overflow message goes back.

    Args:
        depth: returns how many messages a queue has; called once for each pass.
    """

    def __init__(self, depth: Callable[[str], int]) -> None:
        self._depth = depth
        self._passes: dict[str, _Pass] = {}

    def due(self, queue: str, *, now: float) -> float:
        """Return the time at which the next message of a queue goes back, on the clock of `now`."""
        current = self._passes.get(queue)
        if current is None or current.remaining <= 0:
            starts_at = now if current is None else max(now, current.starts_at) + PAUSE_SECONDS
            # This message, which was the first of the queue, and those behind it.
            current = self._passes[queue] = _Pass(starts_at=starts_at, remaining=1 + self._depth(queue))
        current.remaining -= 1
        return current.starts_at
