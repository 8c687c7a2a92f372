"""The idle sessions of a pool: the most recently used one is leased first, so that the others can expire."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl.smtp.pool_limits import PoolLimits
    from mailctl.smtp.session import SmtpSession


class IdleSessions(list["SmtpSession"]):
    """Idle sessions, the most recently used one last.

    Args:
        limits: the limits of their pool.
    """

    def __init__(self, limits: PoolLimits) -> None:
        super().__init__()
        self._limits = limits

    def is_expired(self, session: SmtpSession, *, now: float) -> bool:
        """Whether a session may not be used again, at a time in monotonic seconds."""
        limits = self._limits
        return (
            not session.is_connected
            or session.transactions >= limits.messages_per_session
            or now - session.used_at > limits.max_idle_seconds
            or now - session.opened_at > limits.max_age_seconds
        )

    def pop_expired(self, *, now: float, most: int | None = None) -> list[SmtpSession]:
        """Remove and return the sessions that have expired.

        Args:
            now: the time in monotonic seconds.
            most: how many may stay; of more, those that were not used for the longest time leave as well.
        """
        expired = [session for session in self if self.is_expired(session, now=now)]
        rest = [session for session in self if session not in expired]
        if most is not None:
            excess = max(0, len(rest) - most)
            expired, rest = expired + rest[:excess], rest[excess:]
        self[:] = rest
        return expired

    def pop_expired_last(self, *, now: float) -> list[SmtpSession]:
        """Remove and return expired sessions until the one that would be leased next has not expired."""
        expired = []
        while self and self.is_expired(self[-1], now=now):
            expired.append(self.pop())
        return expired

    def pop_all(self) -> list[SmtpSession]:
        """Remove and return all sessions."""
        sessions = list(self)
        self.clear()
        return sessions
