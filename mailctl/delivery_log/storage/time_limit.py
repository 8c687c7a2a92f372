"""A time limit for what a caller asks of the delivery log, such as a web request that has to be answered."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds to wait for a database server to accept a connection.
CONNECT_TIMEOUT_SECONDS = 3
#: The time of the monotonic clock at which the caller must have its answer; None if it waits.
_deadline: ContextVar[float | None] = ContextVar("mailctl_deadline", default=None)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the time that a delivery log in PostgreSQL may take for all that is asked of it within.

    It limits queries, waiting for locks and for connections, and also a server that does not answer at all.
    Transactions of the caller, such as those of `session=`, are not touched.

    Args:
        seconds: from now on.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_seconds() -> float | None:
    """Return the seconds that are left, 0 or less if none are; None without a limit."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()
