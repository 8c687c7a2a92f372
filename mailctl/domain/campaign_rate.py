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
#: Seconds, and intervals between two emails, in which nothing ends of what is being sent: then the mail
#: server stalls, and whatever it is being sent may end at once.
_STALL_SECONDS, _STALL_INTERVALS = 0.5, 2
#: Seconds of the rate that may be in flight while it stalls. A server that takes longer for each email keeps
#: a campaign from its rate.
_MAX_STALLED_SECONDS = 5.0
#: Seconds by which what was in flight may end later than the mail server gets on.
_LATE_SECONDS = 1.0
#: What the calculation with floating-point numbers may be wrong by.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """The emails of a campaign that were released and have not ended."""

    #: Those that no worker has taken yet.
    queued: int = 0
    #: Those that workers are sending.
    sending: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.queued + self.sending


_NOTHING = InFlight()


@dataclass(frozen=True, kw_only=True)
class Release:
    """Emails of a campaign that were released together; none if it only says what was in flight then."""

    at: datetime
    count: int
    #: Those that had been released before.
    in_flight: InFlight = _NOTHING
    #: Whether the mail server stalled.
    is_stalled: bool = False

    @property
    def held_up(self) -> int:
        """The emails that had been released before, and were sent afterwards: all if the server stalled."""
        return self.in_flight.count if self.is_stalled else self.in_flight.queued


@dataclass(frozen=True, kw_only=True)
class CampaignRate:
    """The rate of a campaign, as the log has it."""

    #: Emails a second.
    per_second: float
    #: The emails that the rate allows until this time have been released.
    released_until: datetime
    #: The recent releases, the oldest first.
    recent: tuple[Release, ...] = ()

    def allowed(self, now: datetime, in_flight: InFlight = _NOTHING) -> int:
        """Return how many emails may be released.

        The rate is kept: what could not be released in time is released later, evenly. In any ten seconds, at
        most 5 % and one email too many are sent; over the time of forty emails, at most 5 % too many.

        Args:
            now: the current time.
            in_flight: what has been released before.
        """
        due = (now - self.released_until).total_seconds() * self.per_second
        most = min(_whole(due), self._bucket_room(now))
        is_stalled = self.is_stalled(now, in_flight)
        held_up = in_flight.count if is_stalled else 0
        for seconds, limit in self._limits:
            most = min(most, limit - held_up, self._room_within(seconds, limit, now))
        if is_stalled:
            most = min(most, _whole(self.per_second * _MAX_STALLED_SECONDS) - held_up)
        return max(0, min(most, self._enough - in_flight.queued))

    def is_stalled(self, now: datetime, in_flight: InFlight) -> bool:
        """Whether the mail server does not get on with what it is being sent, as far as the releases tell.

        Args:
            now: the current time.
            in_flight: as for `allowed`.
        """
        if not in_flight.sending or in_flight.count <= self._enough:
            return False
        if self.recent and self.recent[-1].is_stalled and not self.recent[-1].count:
            return in_flight.count >= self.recent[-1].in_flight.count
        seconds, since = max(_STALL_SECONDS, _STALL_INTERVALS / self.per_second), 0
        for each in reversed(self.recent):
            since += each.count
            if _age(each, now) >= seconds:
                return in_flight.count >= each.in_flight.count + since
        return False

    def after_release(self, count: int, now: datetime, in_flight: InFlight = _NOTHING) -> CampaignRate:
        """Return the rate after so many emails were released.

        Args:
            count: how many; 0 while the mail server stalls, to know what was in flight when it gets on.
            now: the current time.
            in_flight: as for `allowed`.
        """
        recent = [each for each in self.recent if _age(each, now) < self._long_period + _LATE_SECONDS]
        if recent and not recent[-1].count and not count:
            recent.pop()
        is_stalled = self.is_stalled(now, in_flight)
        release = Release(at=now, count=count, in_flight=in_flight, is_stalled=is_stalled)
        return replace(
            self,
            released_until=self.released_until + timedelta(seconds=count / self.per_second),
            recent=(*recent, release),
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
            recent=tuple(each for each in left if each.count > 0 or each.is_stalled),
        )

    @property
    def _enough(self) -> int:
        """Emails that may wait on the broker."""
        return max(1, ceil(self.per_second * _MAX_QUEUED_SECONDS - _TOLERANCE))

    def _bucket_room(self, now: datetime) -> int:
        """Return how many emails may be released without a burst: a leaky bucket.

        The bucket drains at the pace of a campaign that catches up. It holds what a relay, which looks a few
        times a second, releases at once, and one email more: else a slow campaign could not keep its rate.
        """
        level, before = 0.0, self.recent[0].at if self.recent else now
        for each in self.recent:
            level = max(level - self._drained(before, each.at), each.in_flight.queued) + each.count
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

    def _room_within(self, seconds: float, limit: int, now: datetime) -> int:
        """Return how many emails may be released of a limit for a period that ends now.

        What the mail server was being sent while it stalled has taken its part of the limit. The rest is
        released evenly: a pause would look like a stall again.
        """
        released, room = 0, limit
        for each in reversed(self.recent):
            age = _age(each, now)
            if age >= seconds + _LATE_SECONDS:
                break
            released += each.count
            if each.is_stalled:
                room = min(room, _whole((limit - each.held_up) * age / seconds) + 1 - released)
            elif age < seconds:
                room = min(room, limit - each.held_up - released)
        return room


def _age(release: Release, now: datetime) -> float:
    return (now - release.at).total_seconds()


def _whole(emails: float) -> int:
    return floor(emails + _TOLERANCE)
