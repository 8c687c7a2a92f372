"""Decides whether and when an email is tried again: pure functions without clock, sleep or database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory
from mailctl.domain.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.domain.models import Event

#: Seconds that an email must have left before it expires, so that its reader has time to click a link.
MIN_REMAINING_LIFETIME_SECONDS = 60
#: Seconds between attempts while something of ours is wrong: at first, and at most. In between, the wait is a
#: quarter of the age of the email.
CONFIG_RETRY_SECONDS = 30
MAX_CONFIG_RETRY_SECONDS = 900
#: Seconds before another attempt if the server wants less at a time; longer for an older email.
THROTTLED_RETRY_SECONDS = 5
_THROTTLING = frozenset({ReplyCategory.CONNECTIONS, ReplyCategory.RATE})
#: The shortest wait before a retry, in seconds, whatever the jitter.
MIN_DELAY_SECONDS = 1.0
#: Seconds between receiving a message and claiming its email during which the message does not count as lost.
UNCLAIMED_GRACE_SECONDS = 10.0
#: Seconds between searches for messages that the broker lost.
LOST_MESSAGE_CHECK_SECONDS = 5.0
#: Minimum seconds for which the broker keeps the note that an email was published in full.
PUBLICATION_NOTE_SECONDS = 24 * 3600
#: Seconds for which an email of the service's own task whose message is gone counts as being sent.
OWN_TASK_GRACE_SECONDS = 60.0
#: Attempts after which an email fails, so that one that kills its worker does not do so forever.
MAX_ATTEMPTS = 100
#: Why it is unknown whether an attempt has handed over the email.
IN_DOUBT = frozenset({ReasonCode.NO_REPLY, ReasonCode.WORKER_DISAPPEARED, ReasonCode.PROCESS_DIED})


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The exponential back-off between attempts, in seconds."""

    first_seconds: float
    cap_seconds: float

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """Return the wait after an attempt: exponential, with full jitter, capped.

        Args:
            attempt: the number of the attempt, from 1.
            jitter: a random number from 0 to 1.
        """
        ceiling = min(self.cap_seconds, self.first_seconds * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=max(min(MIN_DELAY_SECONDS, ceiling), jitter * ceiling))


@dataclass(frozen=True, kw_only=True)
class RetryAt:
    """The decision to try again at a time."""

    at: datetime
    #: False for a failure of our own settings, which must not use up the attempts of the email.
    counts_as_attempt: bool


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The decision not to try again."""

    reason: str
    is_expired: bool


def is_too_late(now: datetime, expires_at: datetime | None) -> bool:
    """Whether an email expires too soon to be worth sending."""
    return expires_at is not None and expires_at - now < timedelta(seconds=MIN_REMAINING_LIFETIME_SECONDS)


def may_resend_in_doubt(events: Sequence[Event], *, most: int) -> bool:
    """Whether an email may be sent again although the mail server may have accepted it.

    Attempts before an action of an operator on the email do not count.

    Args:
        events: the events of the email, oldest first, without that of the attempt in question.
        most: how often it may be sent again; each time its reader may get a copy.
    """
    resends = 0
    for event in reversed(events):
        if event.actor:
            break
        resends += event.reason_code in IN_DOUBT
    return resends < most


def count_possible_copies(events: Sequence[Event], *, is_sent: bool) -> int:
    """Return how many copies of an email may have arrived; 0 if there is no doubt about any attempt.

    Args:
        events: the events of the email.
        is_sent: whether the mail server has accepted it.
    """
    doubts = sum(event.reason_code in IN_DOUBT and not event.actor for event in events)
    return doubts + is_sent if doubts else 0


def decide_retry(
    outcome: Outcome,
    *,
    attempt: int,
    now: datetime,
    expires_at: datetime | None,
    policy: RetryPolicy,
    jitter: float,
    age: timedelta = timedelta(),
    probe_at: datetime | None = None,
) -> RetryAt | GiveUp:
    """Decide what follows an attempt that the mail server did not accept.

    Args:
        outcome: the outcome of the attempt: deferred, ambiguous or config.
        attempt: the number of the attempt, from 1.
        now: the current time.
        expires_at: when the email expires; None for never.
        policy: the back-off.
        jitter: a random number from 0 to 1.
        age: how long ago the email was recorded.
        probe_at: when the mail server is tried next, while its circuit is open.

    Returns:
        The time of the next attempt, or the reason why there is none.
    """
    # A server that wants fewer sessions or messages at a time refuses no email by that.
    is_throttled = outcome.kind is OutcomeKind.DEFERRED and outcome.category in _THROTTLING
    is_ours = outcome.kind is OutcomeKind.CONFIG or is_throttled
    last = f"{outcome}; {MAYBE_SENT}" if outcome.kind is OutcomeKind.AMBIGUOUS else str(outcome)
    if not is_ours and attempt >= MAX_ATTEMPTS:
        return GiveUp(reason=f"gave up after {attempt} attempts; last: {last}", is_expired=False)
    if outcome.retry_after_seconds is not None:
        delay = timedelta(seconds=outcome.retry_after_seconds)
    elif is_throttled:
        delay = _delay_by_age(age, first=THROTTLED_RETRY_SECONDS) * ((1 + jitter) / 2)
    elif is_ours:
        delay = _delay_by_age(age, first=CONFIG_RETRY_SECONDS)
    else:
        delay = policy.delay(attempt, jitter=jitter)
    at = probe_at if is_ours and probe_at else now + delay
    if is_too_late(at, expires_at):
        return GiveUp(reason=f"would expire before the next attempt; last: {last}", is_expired=True)
    return RetryAt(at=at, counts_as_attempt=not is_ours)


def _delay_by_age(age: timedelta, *, first: float) -> timedelta:
    """Return a delay that grows with the age of an email, from `first` seconds on."""
    return timedelta(seconds=min(MAX_CONFIG_RETRY_SECONDS, max(first, age.total_seconds() / 4)))
