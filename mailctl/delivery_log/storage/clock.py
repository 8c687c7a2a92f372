"""The clock by which all processes of a delivery log compare times."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.errors import ServiceUnavailable
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which the clocks are compared again, and after which that is repeated if it failed.
_COMPARE_SECONDS = 30.0
_REPEAT_SECONDS = 5.0
#: Seconds by which the clock of the host may be set before the clocks are compared again.
_SET_SECONDS = 1.0
#: Seconds that the database may take to tell its time, if another comparison can stand in for this one: it
#: is known only to half of them.
_LONGEST_ANSWER_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class ServerTime:
    """The time of a database server, and when it was asked and had answered, in seconds of `boottime`."""

    time: datetime
    asked_at: float
    answered_at: float

    @property
    def answer_seconds(self) -> float:
        """How long the answer took."""
        return self.answered_at - self.asked_at

    @property
    def offset(self) -> float:
        """The seconds of the server's time that `boottime` counts from."""
        return self.time.timestamp() - (self.asked_at + self.answered_at) / 2


class HostClock:
    """The clock of this host, for a delivery log that only processes of this host use."""

    #: Seconds by which the clock of this host is ahead of that of the log.
    skew_seconds = 0.0

    def __call__(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)


class ServerClock:
    """The clock of a database server, whatever the clock of this host says.

    The server is asked now and then, but not on an event loop once it has answered; in between, time is
    counted by a clock that nobody sets.

    Args:
        ask: asks the server; raises a `ServiceUnavailable`.
        boot: returns the seconds of `boottime`.
        wall: returns the seconds of the clock of the host.
    """

    def __init__(
        self,
        ask: Callable[[], ServerTime],
        *,
        boot: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ask, self._boot, self._wall = ask, boot, wall
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._compare_at = 0.0
        self._wall_offset = 0.0

    def __call__(self) -> datetime:
        """Return the current time of the server, aware, in UTC.

        Raises:
            ServiceUnavailable: the server has never been asked, and does not answer.
        """
        return datetime.fromtimestamp(self._current_offset() + self._boot(), UTC)

    @property
    def skew_seconds(self) -> float:
        """Seconds by which the clock of this host is ahead of that of the server.

        Raises:
            ServiceUnavailable: the server has never been asked, and does not answer.
        """
        return self._wall() - self._boot() - self._current_offset()

    def compare_if_due(self, ask: Callable[[], ServerTime]) -> None:
        """Compare the clocks by other means than the clock's own, if they have to be compared now.

        Args:
            ask: asks the server. On an event loop, other calls run in this thread until it has answered, so
                that no lock may be held: they would wait for it, and it for them.
        """
        if not self._is_due():
            return
        if self._offset is not None:  # this answer is enough for the others
            self._note_comparison(next_seconds=_REPEAT_SECONDS)
        self._compare(ask)

    def _current_offset(self) -> float:
        if self._offset is None:
            with self._lock:
                return self._offset if self._offset is not None else self._compare(self._ask)
        if self._is_due() and not _is_on_event_loop() and self._lock.acquire(blocking=False):
            try:
                return self._compare(self._ask)
            except ServiceUnavailable:
                self._compare_at = self._boot() + _REPEAT_SECONDS
            finally:
                self._lock.release()
        return self._offset

    def _is_due(self) -> bool:
        if self._offset is None:
            return True
        # A host that was suspended, or a virtual machine that was paused, sets its clock when it wakes up.
        was_set = abs(self._wall() - self._boot() - self._wall_offset) > _SET_SECONDS
        return was_set or self._boot() >= self._compare_at

    def _compare(self, ask: Callable[[], ServerTime]) -> float:
        server = ask()
        is_exact = server.answer_seconds <= _LONGEST_ANSWER_SECONDS
        self._note_comparison(next_seconds=_COMPARE_SECONDS if is_exact else _REPEAT_SECONDS)
        if is_exact or self._offset is None:
            self._offset = server.offset
        return self._offset

    def _note_comparison(self, *, next_seconds: float) -> None:
        self._wall_offset = self._wall() - self._boot()
        self._compare_at = self._boot() + next_seconds


def _is_on_event_loop() -> bool:
    """Whether this thread runs an event loop, which must not wait for the database."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
