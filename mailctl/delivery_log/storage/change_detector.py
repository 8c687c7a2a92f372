"""Telling cheaply whether anybody has written to a log in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy import Engine


class ChangeDetector:
    """Compares the log with how it was when somebody looked last.

    Args:
        engine: of the delivery log's database; of one on a server nothing is known without asking it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._version: int | None = None
        self.is_sqlite = engine.dialect.name == "sqlite"

    def mark_seen(self) -> None:
        """Take the log as it is now for seen."""
        self._version = self._read()

    def has_changed(self) -> bool:
        """Whether somebody has written since."""
        version = self._read()
        return version is not None and version != self._version

    def may_have_changed(self) -> bool:
        """Whether somebody has written since, or nobody knows."""
        version = self._read()
        return version is None or version != self._version

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self) -> int | None:
        """Return a number that another connection's writing changes (SQLite's `data_version`)."""
        if not self.is_sqlite:
            return None
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError):
            self.close()
            return None
