"""The rate of a campaign: how many emails may be released now, so that it is kept and not exceeded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How many times its rate a campaign may have that was held up and catches up.
_FACTOR = 1.05
#: Emails over whose time that is not exceeded: enough for it to be more than one email.
_MANY = 40
#: Seconds of the rate that may wait on the broker: once workers take messages again, these go out together.
_MAX_QUEUED_SECONDS = 0.5
#: What the calculation with floating-point numbers may be wrong by.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Release:
    """Emails of a campaign that were released together."""

    at: datetime
    count: int
    #: Emails that had been released before, and that no worker had taken yet: they were sent afterwards.
    queued: int = 0


@dataclass(frozen=True, kw_only=True)
class CampaignRate:
    """The rate of a campaign, as the log has it."""

    #: Emails a second.
    per_second: float
    #: The emails that the rate allows until this time have been released.
    released_until: datetime
    #: The recent releases, the oldest first.
    recent: tuple[Release, ...] = ()

    def allowed(self, now: datetime, *, queued: int) -> int:
        """Return how many emails may be released.

        The rate is kept: what could not be released in time is released later, evenly. In any ten seconds, at
        most 5 % and one email too many are sent; over the time of forty emails, at most 5 % too many.

        Args:
            now: the current time.
            queued: how many released emails no worker has taken yet.
        """
        due = (now - self.released_until).total_seconds() * self.per_second
        most = min(_whole(due), self._bucket_room(now))
        for seconds, limit in self._limits:
            most = min(most, limit - self._sent_within(seconds, now))
        return max(0, min(most, max(1, ceil(self.per_second * _MAX_QUEUED_SECONDS - _TOLERANCE)) - queued))

    def after_release(self, count: int, now: datetime, *, queued: int = 0) -> CampaignRate:
        """Return the rate after so many emails were released.

        Args:
            count: how many.
            now: the current time.
            queued: as for `allowed`.
        """
        recent = (each for each in self.recent if _age(each, now) < self._long_period)
        return replace(
            self,
            released_until=self.released_until + timedelta(seconds=count / self.per_second),
            recent=(*recent, Release(at=now, count=count, queued=queued)),
        )

    def after_return(self, returned: Mapping[datetime, int]) -> CampaignRate:
        """Return the rate after released emails came back without being sent.

        Args:
            returned: how many of them were released at which time.
        """
        count = sum(returned.values())
        left = (replace(each, count=each.count - returned.get(each.at, 0)) for each in self.recent)
        return replace(
            self,
            released_until=self.released_until - timedelta(seconds=count / self.per_second),
            recent=tuple(each for each in left if each.count > 0),
        )

    def _bucket_room(self, now: datetime) -> int:
        """Return how many emails may be released without a burst: a leaky bucket.

        The bucket drains at the pace of a campaign that catches up. It holds what a relay, which looks a few
        times a second, releases at once, and one email more: else a slow campaign could not keep its rate.
        """
        level, before = 0.0, self.recent[0].at if self.recent else now
        for each in self.recent:
            level = max(level - self._drained(before, each.at), each.queued) + each.count
            before = each.at
        level = max(level - self._drained(before, now), 0)
        return _whole(self.per_second * _MAX_QUEUED_SECONDS + 1 - level)

    def _drained(self, since: datetime, until: datetime) -> float:
        return (until - since).total_seconds() * self.per_second * _FACTOR

    @property
    def _limits(self) -> tuple[tuple[float, int], ...]:
        """Return periods in seconds, and how many emails may be sent in any such period.

        A relay comes by a few times a second, so that a period of its own is a little longer. Without the one
        email more, a slow campaign would not even keep its rate.
        """
        rate, long_period = self.per_second, self._long_period
        return (
            (10.0, _whole(rate * 10 * _FACTOR) + 1),
            (long_period, max(_whole(rate * long_period * _FACTOR), 1)),
        )

    @property
    def _long_period(self) -> float:
        return max(10.0, _MANY / self.per_second)

    def _sent_within(self, seconds: float, now: datetime) -> int:
        """Return how many emails were sent in a period that ends now, or are on the broker."""
        released = most = 0
        for each in reversed(self.recent):
            if _age(each, now) >= seconds:
                break
            released += each.count
            most = max(most, released + each.queued)
        return most


def _age(release: Release, now: datetime) -> float:
    return (now - release.at).total_seconds()


def _whole(emails: float) -> int:
    return floor(emails + _TOLERANCE)
