"""How many sessions a process may have: with simulated clocks."""

from __future__ import annotations

from mailctl.domain.session_shares import FIRST_TRIAL_SECONDS, MAX_TRIAL_SECONDS
from mailctl.smtp.pacing import ProcessSessionLimit


def test_all_sessions_are_allowed_until_one_is_refused() -> None:
    """As many as the settings say."""
    limit = ProcessSessionLimit(4)
    assert [limit.may_open(others=others, now=0) for others in range(5)] == [True, True, True, True, False]


def test_what_is_open_is_kept_and_one_more_is_tried_later() -> None:
    """After a minute, then after twice the time with each refusal, ten minutes at most."""
    limit, now, waits = ProcessSessionLimit(8), 0.0, []
    limit.note_refusal(others=3, now=now)
    for _ in range(6):
        assert limit.allowed == 3
        assert limit.may_open(others=2, now=now + 15)
        wait = next(seconds for seconds in range(1, 1000) if limit.may_open(others=3, now=now + seconds))
        waits.append(wait)
        now += wait
        limit.note_refusal(others=3, now=now)
    assert waits == [FIRST_TRIAL_SECONDS, 120, 240, 480, MAX_TRIAL_SECONDS, MAX_TRIAL_SECONDS]


def test_a_trial_that_succeeds_raises_the_limit() -> None:
    """Until all are allowed again."""
    limit = ProcessSessionLimit(4)
    limit.note_refusal(others=3, now=0)
    assert limit.may_open(others=3, now=FIRST_TRIAL_SECONDS)
    limit.note_opened(sessions=4, now=FIRST_TRIAL_SECONDS)
    assert (limit.allowed, limit.is_learned) == (4, False)


def test_a_refusal_of_the_only_session_halves_the_limit_and_is_not_repeated_at_once() -> None:
    """Another process has what the server allows."""
    limit = ProcessSessionLimit(4)
    limit.note_refusal(others=0, now=0)
    assert limit.allowed == 2
    assert [limit.may_open(others=0, now=now) for now in (0.1, 0.9, 1)] == [False, False, True]


def test_refusals_do_not_follow_each_other_without_a_pause() -> None:
    """Two sessions are opened at a time, and the share of this process says that both are free."""
    limit, refused, now = ProcessSessionLimit(4), [], 0.0
    limit.share(3)
    while now < 10:
        if limit.may_open(others=1, now=now):
            limit.note_refusal(others=1, now=now)
            refused.append(now)
        now += 0.25
    assert refused == [0, 0.25, 0.75, 1.75, 3.75, 7.75]


def test_the_share_of_this_process_counts_instead_of_what_it_has_learned() -> None:
    """All workers together know more; but a server that has just refused the only session is left alone."""
    limit = ProcessSessionLimit(4)
    limit.share(2)
    assert (limit.allowed, limit.is_learned) == (2, True)
    assert [limit.may_open(others=others, now=0) for others in range(3)] == [True, True, False]
    limit.note_refusal(others=0, now=0)
    assert [limit.may_open(others=0, now=now) for now in (0.9, 1)] == [False, True]
    limit.share(None)
    assert limit.is_learned, "its own refusal"


def test_what_the_server_has_allowed_at_a_time_is_proven() -> None:
    """Until it refuses as many; with a share, that is known of all workers together."""
    limit = ProcessSessionLimit(10)
    assert limit.proven == 0
    limit.note_opened(sessions=3, now=0.0)
    limit.note_opened(sessions=1, now=1.0)
    assert limit.proven == 3
    limit.note_refusal(others=2, now=2.0)
    assert limit.proven == 2
    limit.share(4)
    assert limit.proven == 4
