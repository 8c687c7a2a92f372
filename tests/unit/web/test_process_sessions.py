"""Sessions that began with the key of a process."""

from __future__ import annotations

from mailctl.delivery_log.web_sessions import SESSION_LIFETIME
from mailctl.web.process_sessions import ProcessSessions


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_by_itself_or_when_its_user_signs_out() -> None:
    """Expired ones are forgotten."""
    clock = Clock()
    sessions = ProcessSessions(clock=clock)
    first, second = sessions.begin(), sessions.begin()
    sessions.end(first)
    sessions.end("unknown")
    assert (sessions.is_valid(first), sessions.is_valid(second)) == (False, True)
    clock.now = SESSION_LIFETIME.total_seconds()
    assert not sessions.is_valid(second)
    third = sessions.begin()
    assert sessions.is_valid(third)
    assert len(sessions._expiries) == 1
