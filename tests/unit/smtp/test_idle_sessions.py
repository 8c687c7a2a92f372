"""Which idle sessions of a pool leave, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.smtp.idle_sessions import IdleSessions
from mailctl.smtp.pool_limits import PoolLimits

LIMITS = PoolLimits(messages_per_session=10, max_idle_seconds=20.0, max_age_seconds=300.0)


def session(**more: Any) -> Any:
    """Return a session that was opened and used at 0."""
    usual = {"is_connected": True, "transactions": 1, "used_at": 0.0, "opened_at": 0.0}
    return SimpleNamespace(**(usual | more))


def idle(*sessions: Any) -> IdleSessions:
    """Return idle sessions, the most recently used one last."""
    found = IdleSessions(LIMITS)
    found.extend(sessions)
    return found


@pytest.mark.parametrize(
    ("changes", "now", "expired"),
    [
        ({}, 20.0, False),
        ({}, 20.5, True),
        ({"is_connected": False}, 0.0, True),
        ({"transactions": 10}, 0.0, True),
        ({"used_at": 300.0}, 300.5, True),
    ],
)
def test_a_session_expires(changes: dict[str, Any], now: float, expired: bool) -> None:
    """When it is idle or open for too long, has sent enough, or was closed by the server."""
    assert idle().is_expired(session(**changes), now=now) is expired


def test_those_that_were_not_used_for_the_longest_time_leave_first() -> None:
    """Where other workers need sessions."""
    oldest, older, newest = (session(used_at=at) for at in (1.0, 2.0, 3.0))
    found = idle(oldest, older, newest)
    assert found.pop_expired(now=3.0, most=1) == [oldest, older]
    assert found == [newest]
    assert found.pop_expired(now=3.0) == []


def test_the_session_that_is_leased_next_has_not_expired() -> None:
    """Those behind it may have: they are closed later."""
    stale, fresh, closed = session(), session(used_at=30.0), session(is_connected=False)
    found = idle(stale, fresh, closed)
    assert found.pop_expired_last(now=30.0) == [closed]
    assert found == [stale, fresh]


def test_all_leave_when_the_pool_is_closed() -> None:
    """Whatever their age."""
    one = session()
    found = idle(one)
    assert (found.pop_all(), found) == ([one], [])
