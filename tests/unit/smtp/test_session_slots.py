"""Campaigns leave one session to other email, and sessions become more with the messages that wait."""

from __future__ import annotations

import asyncio

import pytest

from mailctl.smtp import session_slots
from mailctl.smtp.session_slots import (
    FIRST_SESSIONS,
    SessionSlots,
    Stream,
    campaign_sessions,
    may_open_another,
)


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
    await slots.acquire(Stream("example.com", is_campaign=name.startswith("campaign")))
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


def test_a_campaign_to_a_domain_leaves_sessions_to_other_email_to_it() -> None:
    """It does not matter then that one domain leaves some to others."""

    async def scenario() -> list[str]:
        slots = SessionSlots(56)
        order, tasks = await _grants(slots, [*(f"campaign {n}" for n in range(100)), "reset"])
        for task in tasks:
            task.cancel()
        return order

    assert asyncio.run(scenario()) == [*(f"campaign {n}" for n in range(50)), "reset"]


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
        slots.release(Stream("example.com", is_campaign=True))
        await asyncio.sleep(0)
        slots.release(Stream("example.com"))
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["campaign 0", "reset", "campaign 1"]


def test_a_cancelled_message_keeps_no_slot() -> None:
    """Neither while it waits, nor in the moment in which it gets one."""

    async def scenario() -> int:
        slots = SessionSlots(1)
        await slots.acquire(Stream("example.com"))
        _, [waiting, granted] = await _grants(slots, ["reset 0", "reset 1"])
        waiting.cancel()
        await asyncio.sleep(0)
        slots.release(Stream("example.com"))
        granted.cancel()
        await asyncio.wait([waiting, granted])
        return slots.free

    assert asyncio.run(scenario()) == 1


async def _take_all(slots: SessionSlots, domain: str) -> int:
    """Let emails to a domain take as many slots as they may have, and begin; return how many that are."""
    tasks = [asyncio.create_task(slots.acquire(Stream(domain))) for _ in range(100)]
    await asyncio.sleep(0)
    waiting = [task for task in tasks if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    held = slots.held(Stream(domain))
    for _ in range(held):
        slots.note_begun(Stream(domain))
    return held


@pytest.mark.parametrize(
    ("sessions", "held"), [(56, [50, 5, 1, 0]), (20, [18, 1, 1, 0]), (10, [9, 1, 0, 0]), (9, [9, 0, 0, 0])]
)
def test_a_domain_that_does_not_answer_leaves_sessions_to_others(sessions: int, held: list[int]) -> None:
    """Of a few, none: they would be too few for the mail of everyday."""

    async def scenario() -> list[int]:
        slots = SessionSlots(sessions)
        return [await _take_all(slots, f"{name}.example") for name in "abcd"]

    assert asyncio.run(scenario()) == held


def test_while_a_domain_stalls_the_next_ones_get_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may stall, too."""
    monkeypatch.setattr(session_slots, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(session_slots, "_LOOK_SECONDS", 0.0)

    async def scenario() -> list[int]:
        slots, held = SessionSlots(56), []
        for name in "abcdef":
            held.append(await _take_all(slots, f"{name}.example"))
            await asyncio.sleep(0.02)
        return held

    assert asyncio.run(scenario()) == [50, 3, 1, 1, 1, 0]


def test_of_few_sessions_a_domain_that_stalls_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """When one of them ends at last, others have their turn."""
    monkeypatch.setattr(session_slots, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(session_slots, "_LOOK_SECONDS", 0.0)

    async def scenario() -> tuple[bool, bool]:
        slots = SessionSlots(4)
        for _ in range(3):
            await slots.acquire(Stream("stuck.example"))
            slots.note_begun(Stream("stuck.example"))
        await asyncio.sleep(0.02)
        return await slots.acquire(Stream("stuck.example")), await slots.acquire(Stream("other.example"))

    assert asyncio.run(scenario()) == (False, True)


def test_who_waits_for_a_session_of_other_processes_does_not_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not its domain that does not answer."""
    monkeypatch.setattr(session_slots, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(session_slots, "_LOOK_SECONDS", 0.0)

    async def scenario() -> bool:
        slots = SessionSlots(4)
        for _ in range(3):
            await slots.acquire(Stream("example.com"))
        await asyncio.sleep(0.02)
        return await slots.acquire(Stream("example.com"))

    assert asyncio.run(scenario())


def test_what_the_server_allows_is_shared_between_domains() -> None:
    """It may be less than the settings allow."""

    async def scenario() -> list[int]:
        slots = SessionSlots(56, allowed=lambda: 20)
        return [await _take_all(slots, "a.example"), await _take_all(slots, "b.example")]

    assert asyncio.run(scenario()) == [18, 1]


def test_an_email_overtakes_those_whose_domain_has_all_its_sessions() -> None:
    """And they follow when one of theirs has ended."""

    async def scenario() -> list[str]:
        slots = SessionSlots(56)
        await _take_all(slots, "example.com")
        order, tasks = await _grants(slots, ["late 0", "late 1"])
        await slots.acquire(Stream("other.example"))
        order.append("other")
        slots.release(Stream("other.example"))
        slots.release(Stream("example.com"))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        return order

    assert asyncio.run(scenario()) == ["other", "late 0"]


def test_nobody_waits_long_for_a_domain_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither who waits already, nor who comes then; who comes when an email has ended does."""
    monkeypatch.setattr(session_slots, "STALL_SECONDS", 0.2)

    async def scenario() -> tuple[bool, bool, bool]:
        slots = SessionSlots(56)
        await _take_all(slots, "example.com")
        waited = await slots.acquire(Stream("example.com"))
        came_later = await slots.acquire(Stream("example.com"))
        assert slots.stalled_for(Stream("example.com")) >= 0.2
        slots.release(Stream("example.com"))
        return waited, came_later, await slots.acquire(Stream("example.com"))

    assert asyncio.run(scenario()) == (False, False, True)
