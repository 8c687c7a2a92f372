"""The rate of a campaign is kept, and no ten seconds have many more."""

from __future__ import annotations

from datetime import timedelta
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain.campaign_rate import CampaignRate
from tests.emails import NOW

RATES = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 4.0]), st.floats(0.05, 500))


def release(rate: float, pauses: list[float], *, queued: int = 0) -> list[tuple[float, int]]:
    """Release as much as is allowed after each pause; return when, in seconds, and how many."""
    state, seconds, released = CampaignRate(per_second=rate, released_until=NOW), 0.0, []
    for pause in pauses:
        seconds += pause
        now = NOW + timedelta(seconds=seconds)
        if count := state.allowed(now, queued=queued):
            state = state.after_release(count, now)
            released.append((seconds, count))
    return released


@given(rate=RATES, pauses=st.lists(st.floats(0.01, 30), max_size=80))
def test_no_ten_seconds_have_more_than_a_tenth_too_many(rate: float, pauses: list[float]) -> None:
    """However the relays come and go. Of very few emails the next whole number is allowed."""
    released = release(rate, pauses)
    for start, _ in released:
        count = sum(count for at, count in released if start <= at < start + 9.999)
        assert count <= max(1, ceil(rate * 10 - 1e-6), rate * 10 * 1.05 + 1e-3)


@given(rate=st.sampled_from([4.0, 10.0, 60.0, 200.0]), held_up=st.integers(1, 20))
def test_a_campaign_that_was_held_up_catches_up(rate: float, held_up: int) -> None:
    """It is behind by less than a second's emails in the end."""
    ticks = [0.2] * (5 * 25 * held_up)
    released = release(rate, [float(held_up), *ticks])
    total = held_up + 0.2 * len(ticks)
    assert rate * (total - 1) - 1 <= sum(count for _, count in released) <= rate * total + 1e-3


def test_what_waits_on_the_broker_counts() -> None:
    """Workers that were away send it all at once."""
    state = CampaignRate(per_second=10, released_until=NOW - timedelta(minutes=1))
    assert [state.allowed(NOW, queued=queued) for queued in (0, 3, 5, 99)] == [5, 2, 0, 0]


def test_a_slow_rate_releases_one_email_at_a_time() -> None:
    """When it is due."""
    state = CampaignRate(per_second=0.1, released_until=NOW)
    assert state.allowed(NOW + timedelta(seconds=9.9), queued=0) == 0
    assert state.allowed(NOW + timedelta(seconds=10), queued=0) == 1
    assert state.after_release(1, NOW + timedelta(seconds=10)).released_until == NOW + timedelta(seconds=10)
