"""Decides when an email is tried again, without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.domain.models import Event
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import (
    CONFIG_RETRY_SECONDS,
    MAX_ATTEMPTS,
    MAX_CONFIG_RETRY_SECONDS,
    MIN_DELAY_SECONDS,
    MIN_REMAINING_LIFETIME_SECONDS,
    THROTTLED_RETRY_SECONDS,
    GiveUp,
    RetryAt,
    RetryPolicy,
    count_possible_copies,
    decide_retry,
    is_too_late,
)
from mailctl.domain.states import State

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy(first_seconds=10, cap_seconds=900)
DEFERRED = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=451, enhanced="4.7.1", text="Try later"))
CONFIG = Outcome(kind=OutcomeKind.CONFIG, reply=SmtpReply(code=535, text="Wrong password"))
JITTER = st.floats(min_value=0, max_value=1)


@given(st.integers(min_value=0, max_value=10**7))
def test_a_fault_of_ours_is_retried_less_often_as_the_email_grows_older(seconds: int) -> None:
    """It uses up no attempts, so that they cannot slow it down."""
    age = timedelta(seconds=seconds)
    policy = {"policy": POLICY, "jitter": 1.0, "expires_at": None, "now": NOW}
    decided = decide_retry(CONFIG, attempt=1, age=age, **policy)  # type: ignore[arg-type]
    assert isinstance(decided, RetryAt)
    wait = (decided.at - NOW).total_seconds()
    assert wait == min(max(seconds / 4, CONFIG_RETRY_SECONDS), MAX_CONFIG_RETRY_SECONDS)


@pytest.mark.parametrize("category", [ReplyCategory.CONNECTIONS, ReplyCategory.RATE])
def test_a_server_that_wants_less_at_a_time_uses_up_no_attempt(category: ReplyCategory) -> None:
    """It has refused the pace, not the email."""
    outcome = Outcome(
        kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=421), stage="connect", category=category
    )
    decided = after(outcome, attempt=MAX_ATTEMPTS)
    assert decided == RetryAt(at=NOW + timedelta(seconds=THROTTLED_RETRY_SECONDS), counts_as_attempt=False)


def test_a_message_that_has_waited_for_its_turn_is_tried_again_soon() -> None:
    """However old it is: the wait for older ones would leave a free mail server idle."""
    outcome = Outcome(kind=OutcomeKind.DEFERRED, category=ReplyCategory.RATE, retry_after_seconds=1.0)
    decided = decide_retry(
        outcome, attempt=1, now=NOW, expires_at=None, policy=POLICY, jitter=1.0, age=timedelta(days=1)
    )
    assert decided == RetryAt(at=NOW + timedelta(seconds=1), counts_as_attempt=False)


def after(
    outcome: Outcome = DEFERRED, *, attempt: int = 1, lives: float | None = None, jitter: float = 1.0
) -> RetryAt | GiveUp:
    expires_at = None if lives is None else NOW + timedelta(seconds=lives)
    return decide_retry(
        outcome, attempt=attempt, now=NOW, expires_at=expires_at, policy=POLICY, jitter=jitter
    )


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (7, 640), (8, 900), (1000, 900)])
def test_the_longest_wait_doubles_up_to_the_cap(attempt: int, seconds: int) -> None:
    """Exponential back-off, in seconds."""
    assert POLICY.delay(attempt, jitter=1.0) == timedelta(seconds=seconds)


@given(st.integers(min_value=1, max_value=10**9), JITTER)
def test_a_wait_lies_between_a_second_and_the_cap(attempt: int, jitter: float) -> None:
    """Full jitter: emails that failed together are not retried together."""
    seconds = POLICY.delay(attempt, jitter=jitter).total_seconds()
    assert MIN_DELAY_SECONDS <= seconds <= POLICY.cap_seconds


@given(st.integers(min_value=1, max_value=50), JITTER, JITTER)
def test_more_jitter_never_means_less_waiting(attempt: int, one: float, other: float) -> None:
    """The random number spreads waits over the whole range."""
    less, more = sorted((one, other))
    assert POLICY.delay(attempt, jitter=less) <= POLICY.delay(attempt, jitter=more)


def test_a_policy_may_wait_less_than_a_second() -> None:
    """Tests and impatient operators configure that."""
    assert RetryPolicy(first_seconds=0.1, cap_seconds=1).delay(1, jitter=0.5) == timedelta(seconds=0.1)


def test_no_wait_is_longer_than_the_cap() -> None:
    """Not even the shortest one."""
    assert RetryPolicy(first_seconds=10, cap_seconds=0.5).delay(1, jitter=0.5) <= timedelta(seconds=0.5)


@pytest.mark.parametrize("kind", [OutcomeKind.DEFERRED, OutcomeKind.AMBIGUOUS])
def test_an_email_is_tried_again_after_the_wait(kind: OutcomeKind) -> None:
    """The attempt counts."""
    assert after(Outcome(kind=kind)) == RetryAt(at=NOW + timedelta(seconds=10), counts_as_attempt=True)


def test_configuration_errors_do_not_count_as_attempts() -> None:
    """Wrong credentials are tried at a steady pace until they are corrected."""
    expected = RetryAt(at=NOW + timedelta(seconds=CONFIG_RETRY_SECONDS), counts_as_attempt=False)
    assert after(CONFIG, attempt=1) == after(CONFIG, attempt=MAX_ATTEMPTS + 1) == expected


def test_an_email_fails_after_its_last_attempt() -> None:
    """With the last reply."""
    assert isinstance(after(attempt=MAX_ATTEMPTS - 1), RetryAt)
    assert after(attempt=MAX_ATTEMPTS) == GiveUp(
        reason=f"gave up after {MAX_ATTEMPTS} attempts; last: 451 4.7.1 Try later", is_expired=False
    )


@pytest.mark.parametrize(
    ("lives", "is_worth_it"),
    [(10 + MIN_REMAINING_LIFETIME_SECONDS, True), (9 + MIN_REMAINING_LIFETIME_SECONDS, False)],
)
def test_no_attempt_is_made_when_it_would_be_too_late(lives: float, is_worth_it: bool) -> None:
    """A link must live long enough to be clicked."""
    decision = after(lives=lives)
    assert isinstance(decision, RetryAt) is is_worth_it
    if isinstance(decision, GiveUp):
        assert decision.is_expired


def test_an_email_expires_during_configuration_errors() -> None:
    """An expired link is useless, whatever the cause."""
    assert after(CONFIG, lives=CONFIG_RETRY_SECONDS) == GiveUp(
        reason="would expire before the next attempt; last: 535 Wrong password", is_expired=True
    )


@given(
    st.sampled_from([DEFERRED, CONFIG]),
    st.integers(min_value=1, max_value=200),
    st.floats(min_value=-1000, max_value=10**6),
    JITTER,
)
def test_the_next_attempt_is_before_the_email_expires(
    outcome: Outcome, attempt: int, lives: float, jitter: float
) -> None:
    """After any outcome and any number of attempts."""
    decision = after(outcome, attempt=attempt, lives=lives, jitter=jitter)
    if isinstance(decision, RetryAt):
        assert decision.at > NOW
        assert not is_too_late(decision.at, NOW + timedelta(seconds=lives))
        assert decision.counts_as_attempt is (outcome is DEFERRED)


@pytest.mark.parametrize(
    ("lives", "too_late"),
    [
        (None, False),
        (MIN_REMAINING_LIFETIME_SECONDS, False),
        (MIN_REMAINING_LIFETIME_SECONDS - 1, True),
        (-1, True),
    ],
)
def test_an_email_must_be_valid_for_another_minute(lives: float | None, too_late: bool) -> None:
    """Its reader has to click."""
    expires_at = None if lives is None else NOW + timedelta(seconds=lives)
    assert is_too_late(NOW, expires_at) is too_late


@pytest.mark.parametrize(
    ("codes", "is_sent", "copies"),
    [
        ([], True, 0),
        ([ReasonCode.DEFERRED], True, 0),
        ([ReasonCode.NO_REPLY], False, 1),
        ([ReasonCode.WORKER_DISAPPEARED, ReasonCode.DEFERRED], True, 2),
        ([ReasonCode.NO_REPLY, ReasonCode.WORKER_DISAPPEARED, ReasonCode.NO_REPLY], False, 3),
    ],
)
def test_each_attempt_in_doubt_may_be_a_copy(codes: list[ReasonCode], is_sent: bool, copies: int) -> None:
    """And the one that the mail server has accepted."""
    common = {"at": NOW, "state": State.DEFERRED, "attempt": 1, "worker": "w", "code": None, "text": ""}
    events = [Event(**common, reason_code=code) for code in codes]  # type: ignore[arg-type]
    assert count_possible_copies(events, is_sent=is_sent) == copies
