"""Connection pools that close their connections with the engine, and for SQLite also before a fork."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import QueuePool

from mailctl.process.fork_safety import close_before_forks, hold_forks, no_fork, release_forks

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

# SQLAlchemy logs each step of a pool under the name of its class, and sets the same level for its own pools.
logging.getLogger(__name__).setLevel(logging.WARNING)

#: The key in `record_info` of a connection for the thread that delays forks while it uses the connection.
_THREAD = "mailctl_thread"


class ClosingPool(QueuePool):
    """Closes a connection that is returned after its engine was disposed of, as by an abandoned thread."""

    _is_disposed = False

    def dispose(self) -> None:
        """Close idle connections now, and the others when they are returned."""
        self._is_disposed = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if self._is_disposed:
            record.close()
        super()._do_return_conn(record)


class ForkSafePool(ClosingPool):
    """Delays forks while a connection is in use, and closes the others before a fork.

    SQLite does not allow a connection to survive a fork, even if the child does not use it.
    """

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        close_before_forks(self.close_idle)

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; forks of this process wait until it is returned, or detached."""
        thread = hold_forks()
        try:
            connection = super().connect()
        except BaseException:
            release_forks(thread)
            raise
        connection.record_info[_THREAD] = thread  # type: ignore[index]  # it has a record until it is detached
        return connection

    def close_idle(self) -> None:
        """Close idle connections; new ones are opened when they are needed."""
        QueuePool.dispose(self)

    def dispose(self) -> None:
        """Close idle connections now, and the others when they are returned."""
        with no_fork():
            super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        thread = (record.record_info or {}).pop(_THREAD, None)
        try:
            super()._do_return_conn(record)
        finally:
            if thread is not None:
                release_forks(thread)
