"""A time limit for what a caller asks of the delivery log, such as a web request that has to be answered."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

#: Seconds to wait for a database server to accept a connection.
CONNECT_TIMEOUT_SECONDS = 3


@dataclass(slots=True, kw_only=True)
class _Limit:
    """When the caller must have its answer, and who gives up."""

    #: The time of the monotonic clock.
    deadline: float
    #: Whether the server has to give up in time, too, which costs a round trip for each transaction.
    is_for_server: bool
    #: Seconds to wait for a lock of another transaction; None for as long as the limit allows.
    lock_seconds: float | None


_limit: ContextVar[_Limit | None] = ContextVar("mailctl_time_limit", default=None)


class _Limited:
    """Sets a limit for a block: each transaction has some, and a generator would take longer."""

    def __init__(self, limit: _Limit) -> None:
        self._own = limit

    def __enter__(self) -> None:
        self._token = _limit.set(self._own)

    def __exit__(self, *_: object) -> None:
        _limit.reset(self._token)


def time_limit(
    seconds: float, *, is_for_server: bool = True, lock_seconds: float | None = None
) -> AbstractContextManager[None]:
    """Limit the time that a delivery log in PostgreSQL may take for all that is asked of it within.

    It limits queries, waiting for locks and for connections, and also a server that does not answer at all.
    Transactions of the caller, such as those of `session=`, are not touched. A limit within another one never
    extends that.

    Args:
        seconds: from now on.
        is_for_server: whether the server also ends a statement in time, so that the connection can be used
            again; otherwise the connection is closed.
        lock_seconds: how long a statement may wait for a lock of another transaction, if the limit also
            applies to the server; None for the whole time.
    """
    outer, deadline = _limit.get(), time.monotonic() + seconds
    if outer is not None:
        deadline, is_for_server = min(deadline, outer.deadline), is_for_server or outer.is_for_server
        lock_seconds = outer.lock_seconds if lock_seconds is None else lock_seconds
    return _Limited(_Limit(deadline=deadline, is_for_server=is_for_server, lock_seconds=lock_seconds))


def has_time_limit() -> bool:
    """Whether there is a limit."""
    return _limit.get() is not None


def remaining_seconds() -> float | None:
    """Return the seconds that are left, 0 or less if none are; None without a limit."""
    limit = _limit.get()
    return None if limit is None else limit.deadline - time.monotonic()


def remaining_lock_seconds() -> float | None:
    """Return the seconds that a statement may wait for a lock; None without a limit."""
    limit, seconds = _limit.get(), remaining_seconds()
    if limit is None or seconds is None:
        return None
    return seconds if limit.lock_seconds is None else min(seconds, limit.lock_seconds)


def is_server_limited() -> bool:
    """Whether there is a limit that the server has to keep as well."""
    limit = _limit.get()
    return limit is not None and limit.is_for_server
