"""When to try again: pure decisions, without a clock, a sleep or a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailctl.domain.models import MAYBE_SENT, Outcome, OutcomeKind

#: Seconds of life that an email must have left to be worth sending; its reader still has to click.
MIN_REMAINING_LIFETIME_SECONDS = 60
#: Seconds between attempts while our own credentials, TLS or sender identity are wrong.
CONFIG_RETRY_SECONDS = 30
#: Seconds that a retry waits at least, whatever the jitter says.
MIN_DELAY_SECONDS = 1.0
#: Seconds from the broker to a claim that nobody is alarmed at; between the two a message is always counted.
UNCLAIMED_GRACE_SECONDS = 10.0
#: Seconds between looks for messages that the broker lost.
LOST_MESSAGE_CHECK_SECONDS = 5.0
#: Seconds after which an email is published again where the broker cannot be asked what it has.
BLIND_REPUBLISH_SECONDS = 900.0
#: Attempts after which an email is given up, so that one that kills its worker does not do so for ever.
MAX_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait between attempts, in seconds."""

    first_seconds: float
    cap_seconds: float

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """Return the wait after attempt number `attempt` (from 1): exponential, full jitter, capped.

        Args:
            jitter: a random number from 0 to 1.
        """
        ceiling = min(self.cap_seconds, self.first_seconds * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=max(min(MIN_DELAY_SECONDS, ceiling), jitter * ceiling))


@dataclass(frozen=True, kw_only=True)
class RetryAt:
    """Try again at `at`; `counts` says whether the attempt was one of the email's own."""

    at: datetime
    counts_as_attempt: bool


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Do not try again."""

    reason: str
    is_expired: bool


def is_too_late(now: datetime, expires_at: datetime | None) -> bool:
    """Whether an email has too little life left to be worth sending."""
    return expires_at is not None and expires_at - now < timedelta(seconds=MIN_REMAINING_LIFETIME_SECONDS)


def decide_retry(
    outcome: Outcome,
    *,
    attempt: int,
    now: datetime,
    expires_at: datetime | None,
    policy: RetryPolicy,
    jitter: float,
    probe_at: datetime | None = None,
) -> RetryAt | GiveUp:
    """Decide what follows an attempt that did not deliver.

    Args:
        outcome: deferred, ambiguous or config.
        attempt: its number, from 1.
        expires_at: when the email's links die; None for never.
        jitter: a random number from 0 to 1.
        probe_at: when the mail server is tried next, if it is known not to work.

    Returns:
        The time of the next attempt, or why there is none.
    """
    is_ours = outcome.kind is OutcomeKind.CONFIG
    last = f"{outcome}; {MAYBE_SENT}" if outcome.kind is OutcomeKind.AMBIGUOUS else str(outcome)
    if not is_ours and attempt >= MAX_ATTEMPTS:
        return GiveUp(reason=f"gave up after {attempt} attempts; last: {last}", is_expired=False)
    if is_ours:
        at = probe_at or now + timedelta(seconds=CONFIG_RETRY_SECONDS)
    else:
        at = now + policy.delay(attempt, jitter=jitter)
    if is_too_late(at, expires_at):
        return GiveUp(reason=f"would expire before the next attempt; last: {last}", is_expired=True)
    return RetryAt(at=at, counts_as_attempt=not is_ours)
