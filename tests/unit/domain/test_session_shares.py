"""How processes share the sessions that a mail server allows, with simulated clocks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailctl.domain.session_shares import (
    BEGINNING,
    FIRST_PROCESSES,
    FIRST_TRIAL_SECONDS,
    MAX_TRIAL_SECONDS,
    SETTLING,
    TURN,
    Holder,
    SessionLimit,
    are_all_in_use,
    limit_after_refusal,
    limit_after_success,
    may_begin,
    share_of,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + SETTLING


def learned(total: int) -> SessionLimit:
    return limit_after_refusal(None, opened=total, now=NOW)


def holder(granted: int, *, wanted: int = 20, since: datetime = NOW) -> Holder:
    return Holder(opened=granted, granted=granted, wanted=wanted, since=since)


def test_few_processes_open_their_first_session_at_a_time() -> None:
    """More do once others have theirs, or when the mail server is slow."""
    beginning = Holder(opened=0, granted=1, wanted=1, since=NOW)
    assert may_begin([beginning], now=NOW)
    assert not may_begin([beginning] * FIRST_PROCESSES, now=NOW)
    assert may_begin([beginning] * FIRST_PROCESSES, now=NOW + BEGINNING)
    assert may_begin([beginning] * 3 + [holder(1)] * 8, now=NOW)
    assert not may_begin([beginning] * 4 + [holder(1)] * 8, now=NOW)


def test_sessions_are_in_use_that_their_processes_need() -> None:
    """One with an idle session passes it on, so that nobody has to leave its emails to others."""
    assert are_all_in_use([holder(2), holder(1), holder(0)], total=3)
    assert not are_all_in_use([holder(2), holder(1, wanted=0)], total=3)
    assert not are_all_in_use([holder(2)], total=3)


@pytest.mark.parametrize(("opened", "total"), [(0, 1), (1, 1), (3, 3)])
def test_the_first_refusal_keeps_what_is_open(opened: int, total: int) -> None:
    """At least one session, as a server that allows none is another matter."""
    assert learned(opened).total == total


def test_one_more_is_tried_after_a_wait_that_doubles() -> None:
    """A minute at first, ten minutes at most."""
    limit, now, waits = learned(3), NOW, []
    for _ in range(6):
        waits.append((limit.trial_at - now).total_seconds())
        now = limit.trial_at
        limit = limit_after_refusal(limit, opened=3, now=now)
    assert limit.total == 3
    assert waits == [FIRST_TRIAL_SECONDS, 120, 240, 480, MAX_TRIAL_SECONDS, MAX_TRIAL_SECONDS]


def test_a_trial_that_succeeds_raises_the_limit_and_the_next_one_comes_sooner() -> None:
    """After the first wait again."""
    limit = limit_after_refusal(learned(3), opened=3, now=LATER)
    raised = limit_after_success(limit, opened=4, now=LATER + SETTLING)
    assert (raised.total, raised.trial_seconds) == (4, FIRST_TRIAL_SECONDS)


def test_sessions_of_other_processes_are_added_when_they_report_them() -> None:
    """They were open before the refusal, so that no trial is earned."""
    limit = limit_after_success(learned(2), opened=8, now=NOW + timedelta(seconds=1))
    assert (limit.total, limit.trial_at) == (8, learned(2).trial_at)


def test_a_refusal_below_the_limit_halves_it() -> None:
    """But not below what is open, and not while others have only begun to report."""
    assert limit_after_refusal(learned(8), opened=1, now=LATER).total == 4
    assert limit_after_refusal(learned(8), opened=6, now=LATER).total == 6
    assert limit_after_refusal(learned(1), opened=0, now=LATER).total == 1
    assert limit_after_refusal(learned(8), opened=1, now=NOW) == learned(8)


@pytest.mark.parametrize(
    ("others", "share"),
    [
        ([], 6),
        ([holder(2, wanted=2)], 4),
        ([holder(1)], 3),
        ([holder(0)], 3),
        ([holder(0), holder(0)], 2),
        ([holder(0, wanted=0)], 6),
        ([holder(5)], 1),
        ([holder(6)], 0),
    ],
)
def test_all_that_need_sessions_get_as_many(others: list[Holder], share: int) -> None:
    """And what others do not use goes to those who can use it."""
    assert share_of(holder(6 - sum(each.granted for each in others)), others, total=6, now=NOW) == share


def test_nobody_gets_more_than_it_could_use() -> None:
    """The rest stays for others."""
    assert share_of(holder(1, wanted=2), [], total=6, now=NOW) == 2


def test_idle_sessions_are_kept_until_somebody_needs_them() -> None:
    """Opening one costs more than sending a message."""
    idle = holder(3, wanted=0)
    assert share_of(idle, [], total=3, now=NOW) == 3
    assert share_of(idle, [holder(0)], total=3, now=NOW) == 0
    assert share_of(holder(1, wanted=0), [holder(0), holder(0)], total=1, now=NOW) == 0


def test_fewer_sessions_than_processes_are_used_in_turns() -> None:
    """Each process gets one; the session is never idle for long, and never used twice."""
    processes = [holder(0, since=NOW + timedelta(milliseconds=number)) for number in range(3)]
    had: list[int] = []
    for second in range(60):
        now = NOW + timedelta(seconds=1 + second)
        for number, mine in enumerate(processes):
            others = [each for other, each in enumerate(processes) if other != number]
            share = share_of(mine, others, total=1, now=now)
            since = now if bool(share) is not bool(mine.granted) else mine.since
            processes[number] = replace(mine, opened=share, granted=share, since=since)
        assert sum(each.granted for each in processes) <= 1
        had += [number for number, each in enumerate(processes) if each.granted]
    assert {had.count(number) for number in range(3)} <= set(range(14, 26))
    assert len(had) >= 60 - 60 / TURN.total_seconds()
