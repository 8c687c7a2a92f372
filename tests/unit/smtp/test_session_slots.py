"""Campaigns leave one session to other email, and sessions become more with the messages that wait."""

from __future__ import annotations

import asyncio

import pytest

from mailctl.smtp.session_slots import FIRST_SESSIONS, SessionSlots, campaign_sessions, may_open_another


@pytest.mark.parametrize(("sessions", "expected"), [(1, 1), (2, 1), (50, 49)])
def test_a_campaign_uses_all_sessions_but_one(sessions: int, expected: int) -> None:
    """And at least one."""
    assert campaign_sessions(sessions) == expected


def test_sessions_double_while_messages_wait() -> None:
    """Each round trip opens as many as there are."""
    assert may_open_another(opening=FIRST_SESSIONS - 1, opened=0, proven=50)
    assert not may_open_another(opening=FIRST_SESSIONS, opened=0, proven=50)
    assert may_open_another(opening=19, opened=20, proven=50)
    assert not may_open_another(opening=20, opened=20, proven=50)


def test_beyond_what_is_proven_sessions_become_more_by_half() -> None:
    """The first one alone shows whether the server allows any."""
    steps, opened = [], 0
    while opened < 20:
        opening = 0
        while may_open_another(opening=opening, opened=opened, proven=opened):
            opening += 1
        opened += opening
        steps.append(opened)
    assert steps == [1, 2, 3, 4, 6, 9, 13, 19, 28]


async def _granted(slots: SessionSlots, order: list[str], name: str) -> None:
    await slots.acquire(is_campaign=name.startswith("campaign"))
    order.append(name)


async def _grants(slots: SessionSlots, names: list[str]) -> tuple[list[str], list[asyncio.Task[None]]]:
    order: list[str] = []
    tasks = [asyncio.create_task(_granted(slots, order, name)) for name in names]
    await asyncio.sleep(0)
    return order, tasks


def test_a_slot_is_free_for_a_reset_however_many_emails_of_a_campaign_wait() -> None:
    """A campaign of five on three slots takes two."""

    async def scenario() -> list[str]:
        slots = SessionSlots(3)
        order, tasks = await _grants(slots, [*(f"campaign {n}" for n in range(5)), "reset"])
        for task in tasks:
            task.cancel()
        return order

    assert asyncio.run(scenario()) == ["campaign 0", "campaign 1", "reset"]


def test_a_slow_email_does_not_use_up_the_slot_that_a_campaign_leaves() -> None:
    """One is free for the next reset, whoever has the others."""

    async def scenario() -> list[str]:
        slots = SessionSlots(3)
        order, tasks = await _grants(slots, ["slow", *(f"campaign {n}" for n in range(5)), "reset"])
        for task in tasks:
            task.cancel()
        return order

    assert asyncio.run(scenario()) == ["slow", "campaign 0", "reset"]


def test_other_email_gets_the_next_slot_before_a_campaign() -> None:
    """Whoever came first."""

    async def scenario() -> list[str]:
        slots = SessionSlots(1)
        order, tasks = await _grants(slots, ["campaign 0", "campaign 1", "reset"])
        slots.release()
        await asyncio.sleep(0)
        slots.release()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["campaign 0", "reset", "campaign 1"]


def test_a_cancelled_message_keeps_no_slot() -> None:
    """Neither while it waits, nor in the moment in which it gets one."""

    async def scenario() -> int:
        slots = SessionSlots(1)
        await slots.acquire()
        _, [waiting, granted] = await _grants(slots, ["reset 0", "reset 1"])
        waiting.cancel()
        await asyncio.sleep(0)
        slots.release()
        granted.cancel()
        await asyncio.wait([waiting, granted])
        return slots.free

    assert asyncio.run(scenario()) == 1
