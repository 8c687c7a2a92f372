"""The processes of the worker's pool: one may be gone, such as one that was killed for its memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mailctl.delivery_log.pool_processes import child_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class PoolWatch:
    """Tells which processes of a worker may be sending.

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

    def list_alive(self) -> frozenset[int]:
        """Return the ids of the main process, and of those of the pool that have not gone.

        One that has left the pool finishes what it has begun: it counts as long as it runs.
        """
        self._seen |= {*self._list_processes(), *child_processes(os.getpid())}
        self._seen = {pid for pid in self._seen if not self._is_gone(pid)}
        return frozenset({*self._seen, os.getpid()})


def is_process_gone(pid: int) -> bool:
    """Whether no process has an id; one that has ended still has it until its parent has noticed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
