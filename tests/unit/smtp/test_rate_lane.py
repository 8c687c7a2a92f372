"""What one process knows of a rate that all workers share."""

from __future__ import annotations

import asyncio

from mailctl.smtp.rate_lane import RateLane
from tests.unit.smtp.test_paced_sender import TOO_FAST, Limits


def make(limits: Limits, *, rate: float | None = None) -> RateLane:
    return RateLane(limits, "server default", configured=rate)  # type: ignore[arg-type]


def test_whether_there_is_a_rate_is_looked_up_before_the_first_message() -> None:
    """After that, for a while, no message waits for the answer."""
    lane = make(Limits())
    assert not lane.is_unlimited

    async def run() -> None:
        assert await lane.wait_for_permit(0.0) == ""

    asyncio.run(run())
    assert lane.is_unlimited


def test_with_a_rate_each_message_needs_a_permit() -> None:
    """One that was not used is for the next message."""
    limits = Limits()
    lane = make(limits, rate=1e6)
    assert not lane.is_unlimited

    async def run() -> None:
        assert await lane.wait_for_permit(0.0) == ""
        lane.give_back()
        assert await lane.wait_for_permit(0.0) == ""

    asyncio.run(run())
    assert limits.reserved == [("server default", 1)]


def test_no_more_messages_are_begun_than_the_rate_allows_in_a_second() -> None:
    """At least one is."""
    assert make(Limits(), rate=2.5).limit_capacity(50) == 3
    assert make(Limits(), rate=0.1).limit_capacity(50) == 1
    assert make(Limits()).limit_capacity(50) == 50


def test_a_refusal_teaches_all_workers_what_was_accepted_before() -> None:
    """From then on, messages of this process need permits."""
    limits = Limits()
    lane = make(limits)
    for _ in range(3):
        lane.note_accepted()
    asyncio.run(lane.lower("default", TOO_FAST, domain=None, is_paced=False))
    assert limits.taught == [("server default", 3)]
    assert not lane.is_unlimited
