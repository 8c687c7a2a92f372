"""What a mail server allows, learned from its refusals: with simulated servers and clocks."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from mailctl.smtp.pacing import FIRST_TRIAL_SECONDS, MAX_TRIAL_SECONDS, MessageRate, SessionLimit

if TYPE_CHECKING:
    from collections.abc import Callable

#: Messages of a simulation, how many are under way at a time, and how long each takes.
MESSAGES, AT_A_TIME, SECONDS_EACH = 1000, 4, 0.05


@dataclass
class SlowServer:
    """A server that accepts so many messages in any second."""

    per_second: int
    accepted: deque[float] = field(default_factory=deque)
    refusals: int = 0

    def accepts(self, now: float) -> bool:
        """Take a message, or refuse it."""
        while self.accepted and self.accepted[0] <= now - 1:
            self.accepted.popleft()
        if len(self.accepted) >= self.per_second:
            self.refusals += 1
            return False
        self.accepted.append(now)
        return True


def simulate(server: SlowServer) -> float:
    """Send messages, the refused ones again; return the seconds that it took."""
    rate, now, waiting = MessageRate(), 0.0, MESSAGES
    # The time at which each of the senders offers its message, or has the reply.
    events: list[tuple[float, int, str]] = [(0.0, sender, "next") for sender in range(AT_A_TIME)]
    while events:
        now, sender, what = heapq.heappop(events)
        if what == "next" and waiting:
            waiting -= 1
            heapq.heappush(events, (now + rate.reserve(now), sender, "offer"))
        elif what == "offer":
            what = "accepted" if server.accepts(now) else "refused"
            heapq.heappush(events, (now + SECONDS_EACH, sender, what))
        elif what == "accepted":
            rate.note_accepted(now)
            heapq.heappush(events, (now, sender, "next"))
        elif what == "refused":
            rate.note_refusal(now)
            waiting += 1
            heapq.heappush(events, (now, sender, "next"))
    return now


@pytest.mark.parametrize("per_second", [1, 5, 20])
def test_a_rate_is_learned(per_second: int, record_property: Callable[[str, object], None]) -> None:
    """Nine tenths of what the server allows, with a refusal for one message in a hundred at most."""
    server = SlowServer(per_second)
    share = MESSAGES / simulate(server) / per_second
    row = (f"{per_second} messages a second", f"{share:.0%}", f"{server.refusals}")
    record_property("limits", row)
    assert share >= 0.9
    assert server.refusals <= 10


def test_a_server_without_a_limit_is_not_slowed_down() -> None:
    """Nothing waits before the first refusal."""
    rate = MessageRate()
    for number in range(1000):
        assert rate.reserve(number / 1000) == 0
        rate.note_accepted(number / 1000)
    assert rate.per_second is None


def test_all_sessions_are_allowed_until_one_is_refused() -> None:
    """As many as the settings say."""
    limit = SessionLimit(4)
    assert [limit.may_open(others=others, now=0) for others in range(5)] == [True, True, True, True, False]


def test_what_is_open_is_kept_and_one_more_is_tried_later() -> None:
    """After a minute, then after twice the time with each refusal, ten minutes at most."""
    limit, now, waits = SessionLimit(8), 0.0, []
    limit.note_refusal(others=3, now=now)
    for _ in range(6):
        assert limit.allowed == 3
        assert limit.may_open(others=2, now=now)
        wait = next(seconds for seconds in range(1, 1000) if limit.may_open(others=3, now=now + seconds))
        waits.append(wait)
        now += wait
        limit.note_refusal(others=3, now=now)
    assert waits == [FIRST_TRIAL_SECONDS, 120, 240, 480, MAX_TRIAL_SECONDS, MAX_TRIAL_SECONDS]


def test_a_trial_that_succeeds_raises_the_limit() -> None:
    """Until all are allowed again."""
    limit = SessionLimit(4)
    limit.note_refusal(others=3, now=0)
    assert limit.may_open(others=3, now=FIRST_TRIAL_SECONDS)
    limit.note_opened(sessions=4, now=FIRST_TRIAL_SECONDS)
    assert (limit.allowed, limit.is_learned) == (4, False)


def test_a_refusal_of_the_only_session_halves_the_limit_and_is_not_repeated_at_once() -> None:
    """Another process has what the server allows."""
    limit = SessionLimit(4)
    limit.note_refusal(others=0, now=0)
    assert limit.allowed == 2
    assert [limit.may_open(others=0, now=now) for now in (1, 4, 5)] == [False, False, True]
