"""The clocks of a relay: timers for what it repeats, and the check whether expired leases can be trusted."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.relay")

#: Seconds by which the wall clock may jump before leases are distrusted for a while.
CLOCK_JUMP_SECONDS = 5.0


class IntervalTimer:
    """A timer for work that is repeated at an interval; it is due at once.

    Args:
        interval_seconds: the interval.
        monotonic: returns the seconds of the monotonic clock.
    """

    def __init__(self, interval_seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._due_at = 0.0

    def restart_if_due(self) -> bool:
        """Return whether the work is due, and if so start the next interval."""
        now = self._monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + self._interval_seconds
        return True


class LeaseTrust:
    """Decides whether an expired lease proves that its worker is dead.

    It does not for a while after the wall clock was set, or after an outage of the delivery log, during which
    no worker could extend a lease or record an outcome. Live workers then get some time to do so.

    Args:
        distrust_seconds: how long leases are distrusted.
        monotonic: returns the seconds of the monotonic clock.
        wall: returns the seconds of the wall clock.
    """

    def __init__(
        self,
        distrust_seconds: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._distrust_seconds = distrust_seconds
        self._monotonic = monotonic
        self._wall = wall
        self._offset = wall() - monotonic()
        self._trusted_from = 0.0
        self._set_back_until = 0.0

    def distrust(self) -> None:
        """Distrust leases from now on for `distrust_seconds`."""
        self._trusted_from = self._monotonic() + self._distrust_seconds

    def check(self) -> bool:
        """Compare the clocks, and return whether expired leases can be trusted now."""
        offset = self._wall() - self._monotonic()
        jump = offset - self._offset
        if abs(jump) > CLOCK_JUMP_SECONDS:
            self.distrust()
            if jump < 0:
                self._set_back_until = self._trusted_from
            _log.warning("the system clock was changed by %+.0f s", jump)
        self._offset = offset
        return self._monotonic() >= self._trusted_from

    def is_clock_set_back(self) -> bool:
        """Whether the clock was set back recently, so that older rows may name times far in the future."""
        return self._monotonic() < self._set_back_until
