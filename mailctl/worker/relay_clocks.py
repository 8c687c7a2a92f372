"""The clocks of a relay: timers for what it repeats, and the check whether expired leases can be trusted."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import has_skew
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.relay")

#: Seconds by which the clock of the log may jump, or for which the relay may not run, before leases are
#: distrusted.
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

    It does not for a while after the clock of the delivery log was set, after an outage of the log, and after
    this process was asleep: live workers could not extend a lease or record an outcome meanwhile. The
    processes of this worker were asleep with it. They then get some time to do so.

    Args:
        distrust_seconds: how long leases are distrusted.
        boot: returns the seconds of `boottime`.
        wall: returns the seconds of the clock of the delivery log.
    """

    def __init__(
        self,
        distrust_seconds: float,
        *,
        boot: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._distrust_seconds = distrust_seconds
        self._boot = boot
        self._wall = wall
        self._offset: float | None = None
        self._longest_gap_seconds = min(CLOCK_JUMP_SECONDS, distrust_seconds / 2)
        self._awake_at = boot()
        self._trusted_from = 0.0
        self._set_back_until = 0.0

    def distrust(self) -> None:
        """Distrust leases from now on for `distrust_seconds`."""
        self._trusted_from = self._boot() + self._distrust_seconds

    def note_awake(self) -> None:
        """Note that this process runs; if it has not for a while, distrust leases.

        The relay calls this again and again, however long a tick takes.
        """
        gap = self._boot() - self._awake_at
        self._awake_at += gap
        if gap > self._longest_gap_seconds:
            self.distrust()
            _log.warning(
                "the relay of this worker stood still for %.0f s, because of this host, the delivery log or"
                " the broker; it frees no leases for now",
                gap,
            )

    def check(self) -> bool:
        """Compare the clocks, and return whether expired leases can be trusted now.

        Raises:
            LogUnavailable: the delivery log has never told its time, and does not answer.
        """
        self.note_awake()
        offset = self._wall() - self._boot()
        jump = 0.0 if self._offset is None else offset - self._offset
        if abs(jump) > CLOCK_JUMP_SECONDS:
            self.distrust()
            if jump < 0:
                self._set_back_until = self._trusted_from
            _log.warning("the clock of the delivery log was changed by %+.0f s", jump)
        self._offset = offset
        return self._boot() >= self._trusted_from

    def is_clock_set_back(self) -> bool:
        """Whether the clock was set back recently, so that older rows may name times far in the future."""
        return self._boot() < self._set_back_until


class SkewWatch:
    """Logs when the clock of this host begins or ceases to differ from that of the delivery log."""

    def __init__(self) -> None:
        self._is_wrong = False

    def check(self, skew_seconds: float) -> None:
        """Compare the clocks.

        Args:
            skew_seconds: by how much the clock of this host is ahead.
        """
        was_wrong, self._is_wrong = self._is_wrong, has_skew(skew_seconds)
        if self._is_wrong and not was_wrong:
            _log.warning(
                "the clock of this host differs by %+.1f s from that of the delivery log's database. Emails "
                "are sent and taken over by the clock of the database. Set the clocks with NTP.",
                skew_seconds,
            )
        elif was_wrong and not self._is_wrong:
            _log.info("the clock of this host agrees with that of the delivery log's database again")
