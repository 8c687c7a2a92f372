"""The rate of a campaign: how many emails may be released now, so that it is kept and not exceeded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, floor

#: Periods in seconds, and how many times the rate may be released in any such period. A campaign that was
#: held up catches up within these limits.
_LIMITS = ((10.0, 1.05), (1.0, 2.0))
_LONGEST_PERIOD = max(seconds for seconds, _ in _LIMITS)
#: Seconds of the rate that may wait on the broker: once workers take messages again, these go out together.
_MAX_QUEUED_SECONDS = 0.5
#: What the calculation with floating-point numbers may be wrong by.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class CampaignRate:
    """What the log knows of the rate of a campaign."""

    #: Emails a second.
    per_second: float
    #: The emails that the rate allows until this time have been released.
    released_until: datetime
    #: When emails were released recently, and how many: the oldest first.
    recent: tuple[tuple[datetime, int], ...] = ()

    def allowed(self, now: datetime, *, queued: int) -> int:
        """Return how many emails may be released.

        The rate is kept: what could not be released in time is released later. In no ten seconds are more
        than 5 % too many released; with those that wait on the broker, no more than 10 % too many are sent.

        Args:
            now: the current time.
            queued: how many released emails no worker has taken yet.
        """
        due = (now - self.released_until).total_seconds() * self.per_second
        most = floor(due + _TOLERANCE)
        for seconds, factor in _LIMITS:
            most = min(most, self._limit(seconds, factor) - self._count_since(now, seconds))
        return max(0, min(most, max(1, floor(self.per_second * _MAX_QUEUED_SECONDS)) - queued))

    def after_release(self, count: int, now: datetime) -> CampaignRate:
        """Return the rate after so many emails were released."""
        since = now - timedelta(seconds=_LONGEST_PERIOD)
        return replace(
            self,
            released_until=self.released_until + timedelta(seconds=count / self.per_second),
            recent=(*(each for each in self.recent if each[0] > since), (now, count)),
        )

    def _limit(self, seconds: float, factor: float) -> int:
        rate = self.per_second * seconds
        return max(1, ceil(rate - _TOLERANCE), floor(rate * factor + _TOLERANCE))

    def _count_since(self, now: datetime, seconds: float) -> int:
        since = now - timedelta(seconds=seconds)
        return sum(count for at, count in self.recent if at > since)
