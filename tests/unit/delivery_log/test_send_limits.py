"""Rates that all workers of a log keep together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.send_limits import SendLimits, read_learned_limits, read_learned_rate
from mailctl.domain.models import State
from tests.unit.delivery_log.conftest import SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SERVER = "server default"


def two_workers(log: Log) -> tuple[SendLimits, SendLimits]:
    return SendLimits(log.engine, clock=log.time), SendLimits(log.engine, clock=log.time)


def reserve(limits: SendLimits, count: int = 1, *, rate: float | None = 2.0) -> float | None:
    """Return the wait for the first of some places; None if they are not taken."""
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
    learned = first.learn(SERVER, server="default", accepted_per_second=10, reason="450 4.7.1 too fast")
    assert learned == pytest.approx(9.5)
    assert second.is_learned(SERVER)
    # Nobody sends for a second: the refusals of those that are on their way tell nothing new.
    assert second.learn(SERVER, server="default", accepted_per_second=1, reason="again") is None
    assert [reserve(second, rate=None), reserve(first, rate=None)] == [1.0, pytest.approx(1 + 1 / 9.5)]
    log.forward(2)
    assert second.learn(SERVER, server="default", accepted_per_second=1, reason="again") == pytest.approx(
        9.025
    )
    [limit] = read_learned_limits(log.engine)
    assert (
        limit.describe(now=log.now) == "server default takes 9.03 emails a second, as far as is known: again"
    )
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
    assert first.learn(SERVER, server="default", accepted_per_second=1, reason="") == pytest.approx(0.95 * 4)
    assert first.learn("server b", server="b", accepted_per_second=1, reason="") == pytest.approx(0.95)
    log.now += timedelta(hours=1)
    assert first.learn("server c", server="default", accepted_per_second=1, reason="") == pytest.approx(0.95)
