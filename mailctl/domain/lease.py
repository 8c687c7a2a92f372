"""Leases: for how long a worker may send an email that it has claimed, as far as the worker can know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import LeaseEnded
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

#: The part of a lease, and the seconds, that must be left when a body is handed over: the clocks of worker
#: and delivery log are compared only so exactly, and the mail server takes a moment.
_RESERVE = 0.1
_MIN_RESERVE_SECONDS = 1.0


class Lease:
    """The time for which one worker alone may send an email.

    It is counted from before the claim, or its renewal, was asked for, and by a clock that runs on while the
    host or the process is asleep. So it ends here before it ends in the delivery log.

    Args:
        seconds: how long a claim holds.
        asked_at: the `boottime` before the claim was asked for.
        boot: returns the seconds of `boottime`.
    """

    def __init__(self, *, seconds: float, asked_at: float, boot: Callable[[], float] = boottime) -> None:
        self._seconds = seconds
        self._boot = boot
        self._reserve = max(_MIN_RESERVE_SECONDS, seconds * _RESERVE)
        self._ends_at = asked_at + seconds

    @property
    def may_send(self) -> bool:
        """Whether enough of the lease is left to hand over a body."""
        return self._boot() < self._ends_at - self._reserve

    def renew(self, *, asked_at: float) -> None:
        """Count from a renewal that the delivery log has recorded.

        Args:
            asked_at: the `boottime` before the renewal was asked for.
        """
        self._ends_at = asked_at + self._seconds

    def lose(self) -> None:
        """Note that the claim does not hold any more."""
        self._ends_at = 0.0

    def require(self) -> None:
        """Let the worker continue only if enough of the lease is left.

        Raises:
            LeaseEnded: too little is left; another worker may have claimed the email.
        """
        if not self.may_send:
            raise LeaseEnded("Too little of the lease is left to hand over the body.")
