"""Notifications over PostgreSQL: whoever leaves emails to the relays wakes them (LISTEN and NOTIFY)."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mailctl.delivery_log.storage.time_limit import CONNECT_TIMEOUT_SECONDS, time_limit

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: The channel on which relays listen; who notifies it tells only that there may be due emails.
_CHANNEL = "mailctl_due"
_NOTIFY = text(f"SELECT pg_notify('{_CHANNEL}', '')")


def notify(connection: Connection) -> None:
    """Wake the relays that listen, when the transaction of a connection is committed; only on PostgreSQL."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY)


class Listener:
    """Hears notifications on a connection of its own, which it opens again after an error.

    A pooler such as PgBouncer may hand a connection to another client after each transaction, so that nothing
    would be heard; behind one, it does not listen.

    Args:
        engine: of the delivery log's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._can_listen = engine.dialect.name == "postgresql"

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as it is known."""
        return self._connection is not None

    def listen(self) -> bool:
        """Open the connection unless it is open, and return whether notifications are heard."""
        if self._can_listen and self._connection is None:
            try:
                with time_limit(CONNECT_TIMEOUT_SECONDS, is_for_server=False):
                    self._open()
            except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError):
                self.close()
        return self.is_open

    def wait(self, seconds: float) -> bool:
        """Wait for a notification, for so many seconds at most, and return whether there was one.

        An error ends the wait, and closes the connection.
        """
        try:
            if self._has_heard():
                return True
            poll = select.poll()
            poll.register(self._connection.fileno(), select.POLLIN)
            return bool(poll.poll(seconds * 1000)) and self._has_heard()
        except (self._engine.dialect.loaded_dbapi.Error, OSError):
            self.close()
            return False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> None:
        record = self._engine.raw_connection()
        record.detach()
        connection: Any = record.dbapi_connection
        self._connection = connection
        connection.rollback()
        connection.autocommit = True
        from mailctl.delivery_log.storage.postgresql import is_direct

        if is_direct(connection):
            connection.execute(f"LISTEN {_CHANNEL}")
        else:
            self._can_listen = False
            self.close()

    def _has_heard(self) -> bool:
        """Return whether notifications have come, and take them all: several are as good as one."""
        server = self._connection.pgconn
        server.consume_input()
        count = 0
        while server.notifies() is not None:
            count += 1
        return count > 0
