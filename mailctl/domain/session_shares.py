"""How processes share the sessions that a mail server allows all of them together: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds until one more session is tried; doubled with each refusal.
FIRST_TRIAL_SECONDS = 60.0
MAX_TRIAL_SECONDS = 600.0
#: How long a process keeps its only session while others have none and wait for it.
TURN = timedelta(seconds=20)
#: Processes that open their first session at a time, and how long the server's answer to it is awaited.
FIRST_PROCESSES = 2
BEGINNING = timedelta(seconds=1)
#: How long after a refusal others only confirm it: they learn of it, and report the sessions that they have.
SETTLING = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class SessionLimit:
    """How many sessions a mail server allows all workers of a delivery log together."""

    total: int
    learned_at: datetime
    #: When one more may be tried, and how long the wait after its refusal is.
    trial_at: datetime
    trial_seconds: float = FIRST_TRIAL_SECONDS


@dataclass(frozen=True, kw_only=True)
class SessionDemand:
    """The sessions of a process to one mail server."""

    opened: int
    #: Sessions that it could use for its messages.
    wanted: int


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process with sessions to a mail server, or that waits for one."""

    #: Sessions that are open.
    opened: int
    #: Sessions that it may have.
    granted: int
    #: Sessions that it could use now.
    wanted: int
    #: Since when it has, or waits for, its first session.
    since: datetime

    @property
    def is_starving(self) -> bool:
        """Whether it waits and has no session."""
        return self.wanted > 0 and not self.granted


def may_begin(others: Sequence[Holder], *, now: datetime) -> bool:
    """Whether a process may open its first session to a mail server whose limit is not known.

    Args:
        others: the other processes that have opened their first one.
        now: the time.
    """
    beginning = sum(not other.opened and now - other.since < BEGINNING for other in others)
    return beginning < max(FIRST_PROCESSES, (len(others) - beginning) // 2)


def are_all_in_use(holders: Sequence[Holder], *, total: int) -> bool:
    """Whether processes use all sessions that are allowed, so that another one would wait for its own."""
    return sum(each.granted for each in holders if each.granted <= each.wanted) >= total


def limit_after_refusal(known: SessionLimit | None, *, opened: int, now: datetime) -> SessionLimit:
    """Return what the refusal of a session teaches: what is open is kept.

    Args:
        known: the limit until now; None if there was none.
        opened: how many sessions all processes have open, as far as is known.
        now: the time.
    """
    if known is None:
        return _limit(max(1, opened), now, FIRST_TRIAL_SECONDS)
    if opened >= known.total:
        return _limit(opened, now, min(MAX_TRIAL_SECONDS, known.trial_seconds * 2))
    if now - known.learned_at < SETTLING:
        return known
    return _limit(max(1, opened, known.total // 2), now, known.trial_seconds)


def limit_after_success(known: SessionLimit, *, opened: int, now: datetime) -> SessionLimit:
    """Return the limit after what is open was reported: evidently so many sessions are allowed."""
    if opened <= known.total:
        return known
    if now - known.learned_at < SETTLING:  # these were open before the refusal
        return _limit(opened, known.learned_at, known.trial_seconds)
    return _limit(opened, now, FIRST_TRIAL_SECONDS)


def share_of(mine: Holder, others: Sequence[Holder], *, total: int, now: datetime) -> int:
    """Return how many sessions a process may have.

    All processes that need sessions get as many, and what some do not use goes to the others. If there are
    fewer sessions than processes, they take turns.

    Args:
        mine: the process; `granted` is what it was granted last.
        others: the other live processes.
        total: how many sessions are allowed together.
        now: the time.
    """
    free = max(0, total - sum(other.granted for other in others))
    waiting = [other for other in others if other.is_starving]
    claimants = 1 + sum(other.wanted > 0 or other.opened > 0 for other in others)
    fair = total // claimants
    if not mine.granted:
        ahead = sum(other.since < mine.since for other in waiting)
        return min(mine.wanted, max(fair, 1), max(0, free - ahead))
    is_needed = any(other.wanted > other.granted and other.granted < max(fair, 1) for other in others)
    # Idle sessions are kept as long as nobody needs them.
    useful = mine.wanted if is_needed else max(mine.wanted, mine.opened)
    if not fair:
        is_over = bool(waiting) and now - mine.since >= TURN
        return 0 if is_over else min(1, useful, free)
    return min(useful, free, fair if is_needed else free)


def _limit(total: int, now: datetime, trial_seconds: float) -> SessionLimit:
    trial_at = now + timedelta(seconds=trial_seconds)
    return SessionLimit(total=total, learned_at=now, trial_at=trial_at, trial_seconds=trial_seconds)
