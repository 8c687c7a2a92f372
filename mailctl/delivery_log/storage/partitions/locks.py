"""Locks of whoever changes the layout: one at a time, and nobody else waits long for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: An arbitrary number that other users of a PostgreSQL server are unlikely to lock.
_ADVISORY_LOCK = 6_245_285_002
#: Seconds for which a change of the layout waits for a lock, and others wait behind it.
LOCK_SECONDS = 2
#: What PostgreSQL answers then, and to the loser of a deadlock.
_LOCKED_OUT = frozenset({"55P03", "40P01"})


def take_turn(connection: Connection) -> None:
    """Wait until no other transaction changes the layout; the end of this one lets the next do so."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))


def limit_lock_waits(connection: Connection) -> None:
    """Let this transaction give up instead of waiting long for a lock."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))


def is_locked_out(error: BaseException) -> bool:
    """Whether a transaction failed because others held a lock for long; it can be repeated."""
    driver_error = getattr(error.__cause__, "orig", None)
    return getattr(driver_error, "sqlstate", None) in _LOCKED_OUT
