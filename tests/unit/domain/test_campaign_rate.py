"""The rate of a campaign is kept, and no ten seconds have many more."""

from __future__ import annotations

from datetime import timedelta
from math import ceil, floor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailctl.domain.campaign_rate import CampaignRate, InFlight
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

    #: When, in seconds, and how many emails.
    Release = tuple[float, int]

RATES = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 4.0]), st.floats(0.05, 500))
#: After which release how many emails come back unsent.
RETURNED = st.dictionaries(st.integers(0, 40), st.integers(1, 50), max_size=10)


def release(rate: float, pauses: list[float], *, returned: Mapping[int, int] | None = None) -> list[Release]:
    """Release as much as is allowed after each pause; return when, in seconds, and how many stayed released.

    Args:
        returned: after which releases how many of the emails come back unsent.
    """
    state, seconds, released = CampaignRate(per_second=rate, released_until=NOW), 0.0, []
    for pause in pauses:
        seconds += pause
        now = NOW + timedelta(seconds=seconds)
        if count := state.allowed(now):
            state = state.after_release(count, now)
            back = min(count, (returned or {}).get(len(released), 0))
            state = state.after_return({now: back}) if back else state
            released.append((seconds, count - back))
    return released


def most_in(seconds: float, released: list[Release]) -> int:
    """Return how many were released in the fastest period of so many seconds."""
    periods = ((start, start + seconds - 1e-3) for start, _ in released)
    return max((sum(n for at, n in released if start <= at < end) for start, end in periods), default=0)


@given(rate=RATES, pauses=st.lists(st.floats(0.01, 30), max_size=80), returned=RETURNED)
def test_no_ten_seconds_have_more_than_a_tenth_too_many(
    rate: float, pauses: list[float], returned: dict[int, int]
) -> None:
    """However the relays come and go. Of less than two emails a second, that is one whole email."""
    released = release(rate, pauses, returned=returned)
    assert most_in(10, released) <= floor(rate * 10 * 1.05 + 1e-6) + 1
    assert rate < 2 or most_in(10, released) <= rate * 10 * 1.1 + 1e-3
    assert rate > 4 or most_in(40 / rate, released) <= 42


@settings(max_examples=20)
@given(rate=RATES, tick=st.sampled_from([0.2, 0.31, 0.45]), returned=RETURNED)
def test_a_campaign_that_was_held_up_catches_up(rate: float, tick: float, returned: dict[int, int]) -> None:
    """Whatever its rate, and however often a relay comes by: it is faster than its rate until then."""
    seconds = 40 + 80 / rate
    ticks = [tick] * (2 * ceil(seconds / tick))
    pauses = [100_000.0, *ticks]
    released = sum(count for _, count in release(rate, pauses))
    # But for the last tick, and for an email that is not whole yet.
    assert released > rate * (len(ticks) - 1) * tick - 1
    # Those that come back unsent go out later, and cost the others nothing.
    most_missing = sum(returned.values()) + 1
    assert sum(count for _, count in release(rate, pauses, returned=returned)) >= released - most_missing


def test_a_campaign_that_was_held_up_catches_up_evenly() -> None:
    """Not at twice its rate for five seconds, and then not at all for five."""
    released = release(50, [600.0, *[0.2] * 150])
    of_second = [sum(n for at, n in released if s <= at - 600 < s + 1 - 1e-3) for s in range(30)]
    assert max(of_second) <= 70
    assert min(of_second) >= 35


@settings(max_examples=40)
@given(rate=RATES, tick=st.sampled_from([0.2, 0.31, 0.45]), returned=RETURNED)
def test_a_campaign_that_was_held_up_is_never_ahead(
    rate: float, tick: float, returned: dict[int, int]
) -> None:
    """In the end it has released what its rate allows, and no more."""
    released = release(rate, [10.0, *[tick] * 400], returned=returned)
    assert sum(count for _, count in released) <= rate * (10 + 400 * tick) + 1e-3


def test_what_waited_on_the_broker_counts_where_it_was_sent() -> None:
    """It was released before a period, and sent in it."""
    state = CampaignRate(per_second=4, released_until=NOW - timedelta(minutes=1))
    state = state.after_release(40, NOW, InFlight(queued=2))
    assert [state.allowed(NOW + timedelta(seconds=s)) for s in (5, 9.9, 10.1)] == [0, 0, 2]


@given(rate=st.sampled_from([0.1, 1.0, 4.0, 60.0]), back=st.integers(1, 30), later=st.floats(0, 15))
def test_what_comes_back_unsent_does_not_count(rate: float, back: int, later: float) -> None:
    """Neither for the pace nor for a period, whenever it comes back."""
    before = CampaignRate(per_second=rate, released_until=NOW)
    again = before.after_release(back, NOW).after_release(1, NOW + timedelta(seconds=later))
    alone = before.after_release(1, NOW + timedelta(seconds=later))
    now = NOW + timedelta(seconds=60)
    returned = again.after_return({NOW: back})
    assert returned.allowed(now) == alone.allowed(now)
    assert abs(returned.released_until - alone.released_until) < timedelta(milliseconds=1)


def test_what_waits_on_the_broker_counts() -> None:
    """Workers that were away send it all at once."""
    state = CampaignRate(per_second=10, released_until=NOW - timedelta(minutes=1))
    assert [state.allowed(NOW, InFlight(queued=queued)) for queued in (0, 3, 5, 99)] == [5, 2, 0, 0]


def test_a_slow_rate_releases_one_email_at_a_time() -> None:
    """When it is due."""
    state = CampaignRate(per_second=0.1, released_until=NOW)
    assert state.allowed(NOW + timedelta(seconds=9.9)) == 0
    assert state.allowed(NOW + timedelta(seconds=10)) == 1
    assert state.after_release(1, NOW + timedelta(seconds=10)).released_until == NOW + timedelta(seconds=10)


def send(
    rate: float, *, latency: float, frozen: tuple[float, float], seconds: float, tick: float = 0.2
) -> list[Release]:
    """Return when emails of a campaign end at a mail server that takes so long for each, and freezes once.

    Args:
        latency: seconds from the release of an email to its end.
        frozen: from when to when nothing ends; then all ends whose time has come.
        seconds: how long the campaign is sent.
        tick: seconds between two looks of the relay.
    """
    state, sending, ended = CampaignRate(per_second=rate, released_until=NOW), [], []
    for number in range(int(seconds / tick)):
        at, now = number * tick, NOW + timedelta(seconds=number * tick)
        if not frozen[0] <= at < frozen[1]:
            if done := sum(end <= at for end in sending):
                ended.append((at, done))
            sending = [end for end in sending if end > at]
        in_flight = InFlight(sending=len(sending))
        count = state.allowed(now, in_flight)
        if count or state.is_stalled(now, in_flight):
            state = state.after_release(count, now, in_flight)
        sending += [at + latency] * count
    return ended


@given(
    rate=st.sampled_from([1.0, 4.0, 20.0, 300.0]),
    latency=st.sampled_from([0.05, 0.3, 1.5, 4.0]),
    since=st.floats(0, 20),
    length=st.floats(0, 40),
)
def test_a_mail_server_that_froze_gets_no_more_than_a_tenth_too_many(
    rate: float, latency: float, since: float, length: float
) -> None:
    """What it was being sent ends at once when it gets on, and the others wait for that."""
    ended = send(rate, latency=latency, frozen=(since, since + length), seconds=since + length + 25)
    assert most_in(10, ended) <= max(rate * 11, rate * 10.5 + 2)


@pytest.mark.parametrize("latency", [0.05, 1.5, 4.5])
@pytest.mark.parametrize("rate", [1.0, 4.0, 20.0, 300.0])
def test_a_slow_mail_server_does_not_keep_a_campaign_from_its_rate(rate: float, latency: float) -> None:
    """Up to the seconds of the rate that may be in flight; it is no stall if emails end all the time."""
    ended = send(rate, latency=latency, frozen=(0, 0), seconds=120)
    assert sum(count for _, count in ended) >= rate * (120 - latency - 1) - 1


def test_a_campaign_catches_up_after_its_mail_server_froze() -> None:
    """It is 5 % faster than its rate until then."""
    ended = send(20, latency=0.1, frozen=(10, 25), seconds=400)
    assert sum(count for _, count in ended) >= 20 * 399
