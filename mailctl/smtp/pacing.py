"""How many sessions a process may have, learned from refusals; the caller gives the time, and waits."""

from __future__ import annotations

from mailctl.domain.session_shares import FIRST_TRIAL_SECONDS, MAX_TRIAL_SECONDS

#: Seconds to wait after the only session was refused: other processes have all that the server allows.
FIRST_RECONNECT_SECONDS = 1.0
#: Seconds to wait after a further session was refused. The server counts sessions that other processes have
#: not reported yet, so a session may seem to be free when none is.
_FIRST_PAUSE_SECONDS = 0.25
MAX_RECONNECT_SECONDS = 60.0


class ProcessSessionLimit:
    """How many sessions the server allows this process: its share of those for all workers, if that is known.

    Args:
        most: the number of sessions by the settings.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._learned = most
        self._share: int | None = None
        self._trial_at: float | None = None
        self._trial_seconds = FIRST_TRIAL_SECONDS
        self._reconnect_seconds = FIRST_RECONNECT_SECONDS
        self._reconnect_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._paused_until = 0.0
        self._proven = 0

    @property
    def allowed(self) -> int:
        """How many are allowed, as far as is known."""
        return self._learned if self._share is None else min(self._most, self._share)

    @property
    def proven(self) -> int:
        """How many the server is known to allow at a time; with a share, all of it is known."""
        return self._proven if self._share is None else self.allowed

    @property
    def is_learned(self) -> bool:
        """Whether the server has refused a session, and has not allowed all of them since."""
        return self._share is not None or self._trial_at is not None

    @property
    def is_shared(self) -> bool:
        """Whether all workers together have a limit, and this process a share of it."""
        return self._share is not None

    def share(self, sessions: int | None) -> None:
        """Take the share of this process, which counts instead of what it has learned; None ends that."""
        self._share = sessions

    def may_open(self, *, others: int, now: float) -> bool:
        """Whether one more session may be opened.

        Args:
            others: how many sessions of this process are open or being opened.
            now: the time in seconds.
        """
        if now < (self._paused_until if others else self._reconnect_at):
            return False
        if self._share is not None:
            return others < self.allowed
        is_trial_due = self._trial_at is None or now >= self._trial_at
        return others < self._learned or (is_trial_due and others < self._most)

    def note_refusal(self, *, others: int, now: float) -> None:
        """Learn from the refusal of a session: what is open is kept.

        Args:
            others: how many other sessions of this process are open or being opened.
            now: the time in seconds.
        """
        self._proven = min(self._proven, others)
        if others:
            self._paused_until = now + self._pause_seconds
            self._pause_seconds = min(MAX_RECONNECT_SECONDS, self._pause_seconds * 2)
            self._learned = others
            self._trial_at, self._trial_seconds = now + self._trial_seconds, _doubled(self._trial_seconds)
            return
        self._learned = max(1, self._learned // 2)
        self._trial_at = now + self._trial_seconds
        self._reconnect_at = now + self._reconnect_seconds
        self._reconnect_seconds = min(MAX_RECONNECT_SECONDS, self._reconnect_seconds * 2)

    def note_opened(self, *, sessions: int, now: float) -> None:
        """Learn from a session that the server has accepted.

        Args:
            sessions: how many sessions of this process are open now.
            now: the time in seconds.
        """
        self._proven = max(self._proven, sessions)
        self._reconnect_seconds, self._pause_seconds = FIRST_RECONNECT_SECONDS, _FIRST_PAUSE_SECONDS
        if self._trial_at is None or sessions <= self._learned:
            return
        self._learned = sessions
        self._trial_seconds = FIRST_TRIAL_SECONDS
        self._trial_at = None if self._learned >= self._most else now + FIRST_TRIAL_SECONDS


def _doubled(seconds: float) -> float:
    return min(MAX_TRIAL_SECONDS, seconds * 2)
