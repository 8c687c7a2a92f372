"""How many emails are sent at a time follows the pace and the sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.worker.in_flight_limits import (
    MAX_CAMPAIGN_IN_FLIGHT,
    Pace,
    campaign_limit,
    group_limit,
    worthwhile,
)


def test_the_pace_is_that_of_the_last_second() -> None:
    """What was finished earlier does not count."""
    pace = Pace()
    for now in (10.0, 10.5, 10.9, 11.2):
        pace.note_finished(now)
    assert (pace.per_second(11.2), pace.per_second(11.7), pace.per_second(20.0)) == (3, 2, 0)


@pytest.mark.parametrize(
    ("pace", "sessions", "expected"),
    [(0, 1, 1), (0, 2, 1), (3, 2, 3), (3, 50, 49), (80, 50, 80), (2000, 50, MAX_CAMPAIGN_IN_FLIGHT)],
)
def test_of_a_campaign_a_second_or_all_sessions_but_one_are_in_flight(
    pace: int, sessions: int, expected: int
) -> None:
    """Whichever is larger, and at least one."""
    assert campaign_limit(pace=pace, sessions=sessions) == expected


@given(pace=st.integers(0, 10_000), sessions=st.integers(1, 64))
def test_the_limits_leave_room_and_bound_what_is_in_doubt(pace: int, sessions: int) -> None:
    """Whatever the pace."""
    assert 1 <= campaign_limit(pace=pace, sessions=sessions) <= max(pace, sessions - 1, 1)
    assert sessions <= group_limit(pace=pace, sessions=sessions) <= sessions + 50


@given(limit=st.integers(1, 200), wanted=st.integers(1, 200))
def test_room_is_not_waited_for_that_never_comes(limit: int, wanted: int) -> None:
    """A claim of the last email does not wait for more."""
    assert 1 <= worthwhile(limit, wanted=wanted) <= min(limit, wanted)
