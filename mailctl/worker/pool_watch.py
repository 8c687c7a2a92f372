"""Notices that processes of the worker's pool are gone, such as one that was killed for its memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class PoolWatch:
    """Remembers the processes of a pool, and finds those that do not exist any more.

    A process that ends by itself has recorded everything before; what the others had begun, nobody records.

    Args:
        list_processes: returns the ids of the processes that the pool has now.
        is_gone: whether no process has an id.
    """

    def __init__(
        self,
        list_processes: Callable[[], Collection[int]],
        *,
        is_gone: Callable[[int], bool] | None = None,
    ) -> None:
        self._list_processes = list_processes
        self._is_gone = is_gone or is_process_gone
        self._seen: set[int] = set()

    def find_gone(self) -> frozenset[int]:
        """Return the ids of processes of the pool that are gone, until `forget` is called with them."""
        self._seen |= set(self._list_processes())
        return frozenset(pid for pid in self._seen if self._is_gone(pid))

    def forget(self, pids: Collection[int]) -> None:
        """Forget processes that are gone; another process may get the same id."""
        self._seen.difference_update(pids)


def is_process_gone(pid: int) -> bool:
    """Whether no process has an id; one that has ended still has it until its parent has noticed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
