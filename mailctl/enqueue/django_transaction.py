"""Transactions of Django: an email that is recorded in one is committed or rolled back with it.

Nothing of Django is imported: a process that has an open transaction of Django has imported it.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from mailctl.delivery_log.storage.engine import translate_database_errors
from mailctl.delivery_log.storage.urls import is_same_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: Those of Django's databases that can have the delivery log, by the names of Django and SQLAlchemy.
_BACKENDS = ("sqlite", "postgresql")
_DEFAULT_ALIAS = "default"


@dataclass(frozen=True, kw_only=True)
class DjangoTransaction:
    """An open transaction of Django in the calling thread."""

    #: The name of its database in DATABASES.
    alias: str
    log: Engine
    #: Whether the delivery log is in its database, so that its connection can record emails.
    has_log: bool

    @contextmanager
    def join(self) -> Iterator[Connection]:
        """Yield a SQLAlchemy connection in this transaction, which only Django commits.

        An error undoes what was done in the block, and nothing else of the transaction.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        connection = _django().connections[self.alias]
        with (
            _django().transaction.atomic(using=self.alias),
            translate_database_errors(self.log.url),
            _borrow(connection.connection, self.log).connect() as borrowed,
        ):
            yield borrowed

    def on_commit(self, action: Callable[[], object]) -> None:
        """Call an action after the commit, and never after a rollback."""
        _django().transaction.on_commit(action, using=self.alias)


def open_transaction(log: Engine) -> DjangoTransaction | None:
    """Return the transaction of Django that the calling thread is in; None if there is none.

    Of several, the one on the database of the delivery log is taken, then that on Django's default database.

    Args:
        log: the engine of the delivery log.
    """
    found = [
        DjangoTransaction(alias=alias, log=log, has_log=_has_log(connection, log))
        for alias, connection in _open_connections()
        if connection.in_atomic_block
    ]
    return max(found, key=lambda each: (each.has_log, each.alias == _DEFAULT_ALIAS), default=None)


def _django() -> Any:
    return sys.modules["django.db"]


def _open_connections() -> Iterator[tuple[str, Any]]:
    """Yield the connections that Django has open in this thread, with their names."""
    django, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if django is None or conf is None or not conf.settings.configured:
        return
    for connection in django.connections.all(initialized_only=True):
        if connection.connection is not None:
            yield connection.alias, connection


def _has_log(connection: Any, log: Engine) -> bool:
    """Whether a connection of Django can record emails in the delivery log."""
    # Django also takes psycopg 2, which the log does not; without time zones, Django reads local times.
    is_driver = isinstance(connection.connection, log.dialect.loaded_dbapi.Connection)
    if connection.vendor not in _BACKENDS or not is_driver or not sys.modules["django.conf"].settings.USE_TZ:
        return False
    return is_same_database(_url(connection.vendor, connection.settings_dict), log.url)


def _url(backend: str, settings: dict[str, Any]) -> URL:
    port = settings.get("PORT")
    return URL.create(
        backend,
        host=str(settings.get("HOST") or "") or None,
        port=int(port) if port else None,
        database=str(settings["NAME"]),
    )


def _borrow(driver_connection: Any, log: Engine) -> Engine:
    """Return an engine on a connection that is open already and stays open."""
    pool = NullPool(lambda: _BorrowedConnection(driver_connection), reset_on_return=None)
    return Engine(pool, log.dialect, log.url, hide_parameters=True)


class _BorrowedConnection:
    """A driver connection whose transaction Django commits or rolls back."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """Return a cursor of the driver."""
        cursor = self._connection.cursor(*arguments, **options)
        return _TextTimeCursor(cursor) if isinstance(cursor, sqlite3.Cursor) else cursor

    def commit(self) -> None:
        """Do nothing: Django ends the transaction and closes the connection."""

    rollback = close = commit


class _TextTimeCursor:
    """A cursor of SQLite that returns times as text, as it stores them; Django makes it return objects."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def fetchone(self) -> Any:
        """Return the next row; None if there is none."""
        row = self._cursor.fetchone()
        return None if row is None else _with_text_times(row)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        return [_with_text_times(row) for row in self._cursor.fetchmany(size or self._cursor.arraysize)]

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        return [_with_text_times(row) for row in self._cursor.fetchall()]


def _with_text_times(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.isoformat(" ") if isinstance(value, datetime) else value for value in row)
