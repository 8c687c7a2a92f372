"""Detection of changes: a cheap way to know whether anybody has written to a log in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from mailctl.delivery_log.storage import sqlite
from mailctl.process.fork_safety import close_before_forks, no_fork

if TYPE_CHECKING:
    from sqlalchemy import Engine


class ChangeDetector:
    """Detects changes since the last call of `mark_seen`.

    Args:
        engine: of the delivery log's database. On a database server changes cannot be detected this way.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._version: int | None = None
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._path = sqlite.sqlite_path(engine.url)
        close_before_forks(self._close_connection)

    def mark_seen(self) -> None:
        """Mark all changes until now as seen."""
        self._version = self._read()

    def has_changed(self) -> bool:
        """Whether somebody is known to have written since the last `mark_seen`."""
        version = self._read()
        return version is not None and version != self._version

    def may_have_changed(self) -> bool:
        """Whether somebody has written since the last `mark_seen`, or this cannot be detected."""
        version = self._read()
        return version is None or version != self._version

    def close(self) -> None:
        """Close the connection."""
        with no_fork():
            self._close_connection()

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            # Versions that different connections report cannot be compared.
            self._connection = self._version = None

    def _read(self) -> int | None:
        """Return SQLite's `data_version`, which writes of other connections change; None if unknown."""
        if not self.is_sqlite:
            return None
        with no_fork():
            try:
                return self._read_version()
            except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError):
                self._close_connection()
                return None

    def _read_version(self) -> int:
        if self._connection is not None and sqlite.is_replaced(self._connection.info, self._path):
            self._close_connection()
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            # Forks do not wait for a detached connection, which stays open between two reads.
            self._connection.detach()
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
