"""Rates that all workers of a log keep together."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mailctl.delivery_log.send_limits import SendLimits, read_learned_limits, read_learned_rate
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import send_limits
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import SENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.unit.delivery_log.conftest import Log

SERVER = "server default"


def two_workers(log: Log) -> tuple[SendLimits, SendLimits]:
    return SendLimits(log.engine, clock=log.time), SendLimits(log.engine, clock=log.time)


def reserve(limits: SendLimits, count: int = 1, *, rate: float | None = 2.0) -> float | None:
    """Return the wait for the first of some permits; None if they are not taken."""
    found = limits.reserve(SERVER, configured=rate, count=count, longest_wait=5.0)
    return found.wait_seconds if found.is_taken else None


def test_places_follow_each_other_whoever_takes_them(log: Log) -> None:
    """Two messages a second, of both workers together."""
    first, second = two_workers(log)
    assert [reserve(first), reserve(second), reserve(first, 2), reserve(second)] == [0.0, 0.5, 1.0, 2.0]
    log.forward(10)
    assert reserve(second) == 0.0


def test_unused_time_is_not_saved(log: Log) -> None:
    """A pause does not allow a burst that the mail server would refuse."""
    first, _ = two_workers(log)
    reserve(first)
    log.forward(3600)
    assert [reserve(first) for _ in range(3)] == [0.0, 0.5, 1.0]


def test_a_place_that_is_too_far_is_not_taken(log: Log) -> None:
    """So that those which wait in the log do not push each other back."""
    first, second = two_workers(log)
    reserve(first, 20)
    assert [reserve(second), reserve(second)] == [None, None]
    log.forward(5)
    assert reserve(second) == 5.0


def test_other_limits_are_counted_apart(log: Log) -> None:
    """A slow domain does not slow the server down."""
    first, _ = two_workers(log)
    first.reserve("domain gmail.com", configured=0.1, count=1, longest_wait=5)
    assert reserve(first) == 0.0


def test_what_one_worker_learns_holds_for_all(log: Log) -> None:
    """The first refusal leads to what was accepted, the next ones a little lower; the reason is shown."""
    first, second = two_workers(log)
    assert reserve(first, rate=None) == 0.0
    assert not second.is_learned(SERVER)
    learned = first.learn(SERVER, server="default", accepted_ages=[0.1] * 10, reason="450 4.7.1 too fast")
    assert learned == pytest.approx(9.5)
    assert second.is_learned(SERVER)
    # Nobody sends for a second: the refusals of those that are on their way tell nothing new.
    assert second.learn(SERVER, server="default", accepted_ages=[0.1], reason="again") is None
    assert [reserve(second, rate=None), reserve(first, rate=None)] == [1.0, pytest.approx(1 + 1 / 9.5)]
    log.forward(10.4)
    # One that had no permit does not tell whether the permits are too close.
    assert second.learn(SERVER, server="", accepted_ages=[0.1] * 9, reason="", is_paced=False) is None
    assert second.learn(SERVER, server="default", accepted_ages=[0.1] * 10, reason="again") == pytest.approx(
        9.025
    )
    assert [str(limit) for limit in read_learned_limits(log.engine, now=log.now)] == [
        "server default takes 9.03 emails a second, as far as is known: again"
    ]
    rates = [
        read_learned_rate(log.engine, server=server, domain="example.com", now=log.now)
        for server in ("default", "other")
    ]
    assert rates == [pytest.approx(9.025), None]


def test_what_all_workers_have_sent_counts(log: Log) -> None:
    """Each of them has seen a part of it only; other servers do not count."""
    first, _ = two_workers(log)
    for number in range(8):
        claim = log.claim(log.queue(address=f"u{number}@example.com"))
        log.results.finish(claim, State.SENT, outcome=SENT)
    assert first.learn(SERVER, server="default", accepted_ages=[0.1], reason="") == pytest.approx(0.95 * 8)
    assert first.learn("server b", server="b", accepted_ages=[0.1], reason="") == pytest.approx(0.95)
    log.now += timedelta(hours=1)
    assert first.learn("server c", server="default", accepted_ages=[0.1], reason="") == pytest.approx(0.95)


def test_of_a_domain_only_its_own_email_counts(log: Log) -> None:
    """However much the server has accepted for others; `why` and all workers know the rate."""
    first, second = two_workers(log)
    for number in range(8):
        domain = "gmail.com" if number < 3 else "example.com"
        claim = log.claim(log.queue(address=f"u{number}@{domain}"))
        log.results.finish(claim, State.SENT, outcome=SENT)
    assert second.learned_domains() == frozenset()
    learned = first.learn(
        "domain gmail.com", server="default", accepted_ages=[0.1], reason="slower", domain="gmail.com"
    )
    assert learned == pytest.approx(0.95 * 3)
    assert second.learned_domains() == {"domain gmail.com"}
    known = [
        read_learned_rate(log.engine, server="default", domain=domain, now=log.now)
        for domain in ("gmail.com", "example.com")
    ]
    assert known == [pytest.approx(0.95 * 3), None]
    log.forward(86_401)
    assert second.learned_domains() == frozenset()


def test_a_learned_rate_is_forgotten_after_a_day(log: Log) -> None:
    """It has risen a millionfold by then."""
    first, _ = two_workers(log)
    first.learn(SERVER, server="default", accepted_ages=[0.1] * 10, reason="too fast")
    log.forward(86_401)
    assert not first.is_learned(SERVER)
    assert [reserve(first, rate=None), reserve(first, rate=1.0)] == [0.0, 0.0]
    assert read_learned_limits(log.engine, now=log.now) == []


def test_limits_that_tell_nothing_any_more_are_deleted(log: Log) -> None:
    """With a rate for every domain there is one for each; what a server has taught stays for a day."""
    first, _ = two_workers(log)
    for number in range(50):
        first.reserve(f"domain d{number}.example", configured=5.0, count=1, longest_wait=5)
    first.learn(SERVER, server="default", accepted_ages=[0.1] * 10, reason="too fast")
    log.forward(3700)
    first.reserve("domain new.example", configured=5.0, count=1, longest_wait=5)
    with reading(log.engine) as connection:
        kept = connection.execute(select(send_limits.c.scope).order_by(send_limits.c.scope)).scalars().all()
    assert kept == ["domain new.example", SERVER]


#: How many messages of a simulation are under way at a time, and how long each takes.
AT_A_TIME, SECONDS_EACH = 4, 0.05


@dataclass
class SlowServer:
    """A server that accepts so many messages in any so many seconds, or in each such time after the other."""

    messages: int
    seconds: float
    begins_anew: bool = False
    accepted: deque[float] = field(default_factory=deque)
    refusals: int = 0

    def __str__(self) -> str:
        return f"{self.messages} messages in {'each' if self.begins_anew else 'any'} {self.seconds:g} s"

    def accepts(self, now: float) -> bool:
        """Take a message, or refuse it."""
        since = now // self.seconds * self.seconds if self.begins_anew else now - self.seconds
        while self.accepted and (self.accepted[0] < since or self.accepted[0] == now - self.seconds):
            self.accepted.popleft()
        if len(self.accepted) >= self.messages:
            self.refusals += 1
            return False
        self.accepted.append(now)
        return True


def simulate(server: SlowServer, log: Log, *, messages: int) -> float:
    """Send messages by two workers, the refused ones again; return the seconds that it took."""
    begin, now, waiting, is_limited = log.now, 0.0, messages, False
    workers = two_workers(log)
    accepted: tuple[list[float], list[float]] = ([], [])
    # The time at which each of the senders offers its message, or has the reply.
    events: list[tuple[float, int, str]] = [(0.0, sender, "next") for sender in range(AT_A_TIME)]
    taught: list[datetime | None] = [None] * AT_A_TIME
    while events:
        now, sender, what = heapq.heappop(events)
        log.now = begin + timedelta(seconds=now)
        limits, mine = workers[sender % 2], accepted[sender % 2]
        if what == "offer" and limits.learned_at(SERVER) != taught[sender]:
            what, waiting = "next", waiting + 1
        if what == "next" and waiting:
            waiting -= 1
            found = limits.reserve(SERVER, configured=None, count=1, longest_wait=100) if is_limited else None
            taught[sender] = found.learned_at if found else None
            heapq.heappush(events, (now + (found.wait_seconds if found else 0.0), sender, "offer"))
        elif what == "offer":
            what = "accepted" if server.accepts(now) else "refused"
            heapq.heappush(events, (now + SECONDS_EACH, sender, what))
        elif what == "accepted":
            mine.append(now)
            heapq.heappush(events, (now, sender, "next"))
        elif what == "refused":
            ages = sorted(now - at for at in (*accepted[0], *accepted[1]))
            limits.learn(SERVER, server="default", accepted_ages=ages, reason="")
            is_limited, waiting = True, waiting + 1
            heapq.heappush(events, (now, sender, "next"))
    return now


@pytest.mark.parametrize(
    ("server", "messages", "most_refusals"),
    [
        (SlowServer(1, 1.0), 1000, 10),
        (SlowServer(5, 1.0), 1000, 10),
        (SlowServer(20, 1.0), 1000, 10),
        (SlowServer(10, 2.0, begins_anew=True), 1000, 10),
        # It counts over a time that is found by longer and longer pauses.
        (SlowServer(600, 60.0, begins_anew=True), 3000, 30),
    ],
    ids=str,
)
def test_a_rate_is_learned(
    server: SlowServer,
    messages: int,
    most_refusals: int,
    log: Log,
    record_property: Callable[[str, object], None],
) -> None:
    """Nine tenths of what the server allows, with few refusals for 1,000 messages."""
    share = messages / simulate(server, log, messages=messages) * server.seconds / server.messages
    refusals = 1000 * server.refusals / messages
    record_property("limits", (str(server), f"{share:.0%}", f"{refusals:.1f}"))
    assert share >= 0.9
    assert refusals <= most_refusals
