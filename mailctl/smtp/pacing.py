"""What a mail server allows, learned from its refusals: sessions at a time, and messages in a second.

Both are pure: the caller gives the time, and does the waiting.
"""

from __future__ import annotations

from collections import deque

#: Seconds until one more session is tried; doubled with each refusal.
FIRST_TRIAL_SECONDS = 60.0
MAX_TRIAL_SECONDS = 600.0
#: The same while the server refuses the only session: another process has those that it allows.
FIRST_RECONNECT_SECONDS = 5.0
MAX_RECONNECT_SECONDS = 60.0
#: Seconds over which the rate is measured: the fastest second of them counts.
_MEASURED_SECONDS = 4.0
#: The share of what was accepted that is tried after a refusal.
_CAUTION = 0.95
#: By how much the rate is raised after each period without a refusal.
_RAISE_FACTOR = 1.01
_RAISE_SECONDS = 60.0
#: The lowest rate in messages a second.
_MIN_RATE = 0.1
#: Seconds for which refusals tell nothing new: those messages were on their way already.
_SETTLING_SECONDS = 1.0


class SessionLimit:
    """How many sessions the server allows this process.

    Args:
        most: the number of sessions by the settings.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        #: How many are allowed, as far as is known.
        self.allowed = most
        self._trial_at: float | None = None
        self._trial_seconds = FIRST_TRIAL_SECONDS
        self._reconnect_seconds = FIRST_RECONNECT_SECONDS
        self._reconnect_at = 0.0

    @property
    def is_learned(self) -> bool:
        """Whether the server has refused a session, and has not allowed all of them since."""
        return self._trial_at is not None

    def may_open(self, *, others: int, now: float) -> bool:
        """Whether one more session may be opened.

        Args:
            others: how many sessions of this process are open or being opened.
            now: the time in seconds.
        """
        if not others:
            return now >= self._reconnect_at
        is_trial_due = self._trial_at is None or now >= self._trial_at
        return others < self.allowed or (is_trial_due and others < self._most)

    def note_refusal(self, *, others: int, now: float) -> None:
        """Learn from the refusal of a session: what is open is kept.

        Args:
            others: how many other sessions of this process are open or being opened.
            now: the time in seconds.
        """
        if others:
            self.allowed = others
            self._trial_at, self._trial_seconds = now + self._trial_seconds, _doubled(self._trial_seconds)
            return
        self.allowed = max(1, self.allowed // 2)
        self._trial_at = now + self._trial_seconds
        self._reconnect_at = now + self._reconnect_seconds
        self._reconnect_seconds = min(MAX_RECONNECT_SECONDS, self._reconnect_seconds * 2)

    def note_opened(self, *, sessions: int, now: float) -> None:
        """Learn from a session that the server has accepted.

        Args:
            sessions: how many sessions of this process are open now.
            now: the time in seconds.
        """
        self._reconnect_seconds = FIRST_RECONNECT_SECONDS
        if self._trial_at is None or sessions <= self.allowed:
            return
        self.allowed = sessions
        self._trial_seconds = FIRST_TRIAL_SECONDS
        self._trial_at = None if self.allowed >= self._most else now + FIRST_TRIAL_SECONDS


class MessageRate:
    """How many messages a second the server accepts from this process; unlimited until it refuses one."""

    def __init__(self) -> None:
        #: Messages a second; None for no limit.
        self.per_second: float | None = None
        self._accepted: deque[float] = deque()
        self._next_at = 0.0
        self._settled_at = 0.0
        self._raise_at = 0.0

    def reserve(self, now: float) -> float:
        """Reserve the next place; return for how many seconds the message has to wait.

        Args:
            now: the time in seconds.
        """
        if self.per_second is None:
            return 0.0
        if now >= self._raise_at:
            self.per_second *= _RAISE_FACTOR
            self._raise_at = now + _RAISE_SECONDS
        at = max(now, self._next_at)
        self._next_at = at + 1 / self.per_second
        return at - now

    def note_accepted(self, now: float) -> None:
        """Count an accepted message; one that was on its way during a refusal shows that more is allowed."""
        self._accepted.append(now)
        self._forget(now)
        if self.per_second is not None and now < self._settled_at:
            self.per_second = max(self.per_second, self._measure())

    def note_refusal(self, now: float) -> None:
        """Learn from a refusal that says that messages come too fast."""
        self._forget(now)
        if now < self._settled_at:
            return
        known = self.per_second
        self.per_second = self._measure() if known is None else min(self._measure(), known * _CAUTION)
        self._settled_at = now + _SETTLING_SECONDS
        self._raise_at = now + _RAISE_SECONDS
        self._next_at = max(self._next_at, self._settled_at)

    def _measure(self) -> float:
        """Return a little less than what was accepted in the fastest second."""
        fastest, first = 0, 0
        for last, at in enumerate(self._accepted):
            while self._accepted[first] < at - 1:
                first += 1
            fastest = max(fastest, last - first + 1)
        return max(_MIN_RATE, _CAUTION * fastest)

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0] < now - _MEASURED_SECONDS:
            self._accepted.popleft()


def _doubled(seconds: float) -> float:
    return min(MAX_TRIAL_SECONDS, seconds * 2)
