"""Campaigns leave one session to other email, and sessions become more with the messages that wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mailctl.smtp import session_slots, streams
from mailctl.smtp.session_slots import FIRST_SESSIONS, SessionSlots, may_open_another
from mailctl.smtp.streams import Slot, Stream

if TYPE_CHECKING:
    from mailctl.domain.outcomes import Outcome


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


async def _take(slots: SessionSlots, stream: Stream) -> Slot:
    slot = await slots.acquire(stream)
    assert isinstance(slot, Slot)
    return slot


async def _granted(slots: SessionSlots, order: list[str], name: str) -> Slot:
    domain = "example.com" if name.startswith("campaign") else f"{name.replace(' ', '-')}.example"
    slot = await _take(slots, Stream(domain, is_campaign=name.startswith("campaign")))
    order.append(name)
    return slot


async def _grants(slots: SessionSlots, names: list[str]) -> tuple[list[str], list[asyncio.Task[Slot]]]:
    order: list[str] = []
    tasks = [asyncio.create_task(_granted(slots, order, name)) for name in names]
    await asyncio.sleep(0)
    return order, tasks


async def _prove(slots: SessionSlots, stream: Stream, count: int = 60) -> None:
    """Let emails of a stream be answered."""
    for _ in range(count):
        slot = await _take(slots, stream)
        slots.note_begun(slot)
        slots.release(slot, is_answered=True)


async def _take_all(slots: SessionSlots, stream: Stream) -> list[Slot]:
    """Let emails of a stream take as many slots as they may have, and begin."""
    tasks = [asyncio.create_task(slots.acquire(stream)) for _ in range(100)]
    await asyncio.sleep(0)
    waiting = [task for task in tasks if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    taken = [slot for task in tasks if task not in waiting and isinstance(slot := task.result(), Slot)]
    for slot in taken:
        slots.note_begun(slot)
    return taken


def cancel(tasks: list[asyncio.Task[Slot]]) -> None:
    for task in tasks:
        task.cancel()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emails are stuck after a moment."""
    monkeypatch.setattr(streams, "STUCK_SECONDS", 0.05)
    monkeypatch.setattr(session_slots, "LONGEST_STALL_SECONDS", 0.05)
    monkeypatch.setattr(session_slots, "_LOOK_SECONDS", 0.01)


CAMPAIGN = Stream("example.com", is_campaign=True)


def test_a_slot_is_free_for_a_reset_however_many_emails_of_a_campaign_wait() -> None:
    """A campaign of five on three slots takes two."""

    async def scenario() -> list[str]:
        slots = SessionSlots(3)
        order, tasks = await _grants(slots, [*(f"campaign {n}" for n in range(5)), "reset"])
        cancel(tasks)
        return order

    assert asyncio.run(scenario()) == ["campaign 0", "campaign 1", "reset"]


def test_a_campaign_to_a_domain_leaves_sessions_to_other_email_to_it() -> None:
    """It does not matter then that one domain leaves some to others."""

    async def scenario() -> tuple[int, int]:
        slots = SessionSlots(56)
        await _prove(slots, CAMPAIGN)
        return len(await _take_all(slots, CAMPAIGN)), len(await _take_all(slots, Stream("example.com")))

    campaign, others = asyncio.run(scenario())
    assert (campaign, others) == (50, 6)


def test_a_slow_email_does_not_use_up_the_slot_that_a_campaign_leaves() -> None:
    """One is free for the next reset, whoever has the others."""

    async def scenario() -> list[str]:
        slots = SessionSlots(3)
        order, tasks = await _grants(slots, ["slow", *(f"campaign {n}" for n in range(5)), "reset"])
        cancel(tasks)
        return order

    assert asyncio.run(scenario()) == ["slow", "campaign 0", "reset"]


def test_other_email_gets_the_next_slot_before_a_campaign() -> None:
    """Whoever came first."""

    async def scenario() -> list[str]:
        slots = SessionSlots(1)
        order, tasks = await _grants(slots, ["campaign 0", "campaign 1", "reset"])
        slots.release(await tasks[0])
        slots.release(await tasks[2])
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["campaign 0", "reset", "campaign 1"]


def test_a_cancelled_message_keeps_no_slot() -> None:
    """Neither while it waits, nor in the moment in which it gets one."""

    async def scenario() -> int:
        slots = SessionSlots(1)
        first = await _take(slots, Stream("example.com"))
        _, [waiting, granted] = await _grants(slots, ["reset 0", "reset 1"])
        waiting.cancel()
        await asyncio.sleep(0)
        slots.release(first)
        granted.cancel()
        await asyncio.wait([waiting, granted])
        return slots.free

    assert asyncio.run(scenario()) == 1


def test_an_email_overtakes_those_whose_domain_has_all_its_sessions() -> None:
    """And they follow when one of theirs has ended."""

    async def scenario() -> list[str]:
        slots, stream = SessionSlots(56), Stream("late.example")
        taken = await _take_all(slots, stream)
        order: list[str] = []

        async def come(name: str, stream: Stream) -> None:
            await _take(slots, stream)
            order.append(name)

        tasks = [asyncio.create_task(come("late", stream)), asyncio.create_task(come("other", Stream("b")))]
        await asyncio.sleep(0)
        slots.release(taken[0], is_answered=True)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["other", "late"]


@pytest.mark.parametrize("sessions", [4, 9, 20, 56])
def test_a_domain_that_does_not_answer_holds_up_no_other(sessions: int) -> None:
    """However many emails to it wait."""

    async def scenario() -> bool:
        slots = SessionSlots(sessions)
        await _take_all(slots, Stream("dead.example"))
        return isinstance(await slots.acquire(Stream("other.example")), Slot)

    assert asyncio.run(scenario())


@pytest.mark.parametrize("sessions", [3, 4, 9, 56])
def test_an_email_that_is_stuck_holds_up_none_to_its_domain(sessions: int, short: None) -> None:
    """As long as sessions are free."""

    async def scenario() -> list[bool]:
        slots, stream = SessionSlots(sessions), Stream("example.com")
        slots.note_begun(await _take(slots, stream))
        await asyncio.sleep(0.1)
        found = []
        for _ in range(10):
            slot = await _take(slots, stream)
            slots.note_begun(slot)
            slots.release(slot, is_answered=True)
            found.append(True)
        return found

    assert asyncio.run(scenario()) == [True] * 10


def test_what_the_server_allows_is_shared_between_domains() -> None:
    """It may be less than the settings allow."""

    async def scenario() -> list[int]:
        slots = SessionSlots(56, allowed=lambda: 20)
        await _prove(slots, Stream("a.example"))
        return [len(await _take_all(slots, Stream(f"{name}.example"))) for name in "ab"]

    assert asyncio.run(scenario()) == [18, 2]


def test_who_waits_gets_a_slot_when_the_server_allows_more() -> None:
    """Although no email has ended meanwhile."""

    async def scenario(allowed: list[int]) -> bool:
        slots = SessionSlots(56, allowed=lambda: allowed[0])
        for name in "abcd":
            await _take_all(slots, Stream(f"{name}.example"))
        assert slots.free == 47
        waiting = asyncio.create_task(slots.acquire(Stream("e.example")))
        await asyncio.sleep(0)
        allowed[0] = 20
        return isinstance(await waiting, Slot)

    assert asyncio.run(scenario([10]))


def test_of_a_few_sessions_that_the_server_allows_a_dead_domain_has_not_all() -> None:
    """Those that answer may wait for more of them, so that other processes see that they are needed."""

    async def scenario() -> list[int]:
        slots = SessionSlots(56, allowed=lambda: 4)
        dead = len(await _take_all(slots, Stream("dead.example")))
        await _prove(slots, Stream("example.com"))
        return [dead, len(await _take_all(slots, Stream("example.com")))]

    assert asyncio.run(scenario()) == [2, 5]


def text_of(found: Slot | Outcome) -> str:
    return "" if isinstance(found, Slot) else found.reply.text


def test_nobody_waits_long_for_a_domain_that_does_not_answer(short: None) -> None:
    """Neither who waits already, nor who comes then; who comes when an email was answered does."""

    async def scenario() -> tuple[str, str, str]:
        slots, stream = SessionSlots(56), Stream("example.com")
        taken = await _take_all(slots, stream)
        waited = text_of(await slots.acquire(stream))
        came_later = text_of(await slots.acquire(stream))
        slots.release(taken[0], is_answered=True)
        return waited, came_later, text_of(await slots.acquire(stream))

    waited, came_later, after = asyncio.run(scenario())
    assert waited.startswith("it waits for its turn: none of the 8 emails to example.com that are being sent")
    assert (came_later[:22], after) == (waited[:22], "")


def test_nobody_waits_long_for_a_server_that_does_not_answer(short: None) -> None:
    """Although no email to its own domain is being sent."""

    async def scenario() -> str:
        slots = SessionSlots(1)
        slots.note_begun(await _take(slots, Stream("a.example")))
        return text_of(await slots.acquire(Stream("b.example")))

    assert asyncio.run(scenario()).startswith(
        "it waits for its turn: the email that is being sent has not ended"
    )


@pytest.mark.parametrize("has_session", [True, False])
def test_who_waits_for_emails_that_end_waits(has_session: bool, short: None) -> None:
    """However long it takes, and also for those that wait for sessions of other processes."""

    async def scenario() -> str:
        slots, stream = SessionSlots(2), Stream("example.com")
        slot = await _take(slots, stream)
        waiting = asyncio.create_task(slots.acquire(stream))
        for _ in range(6):
            if has_session:
                slots.note_begun(slot)
            await asyncio.sleep(0.03)
        slots.release(slot, is_answered=True)
        return text_of(await waiting)

    assert asyncio.run(scenario()) == ""


def test_stuck_emails_are_counted(short: None) -> None:
    """Those of campaigns and others apart; who waits for a session again is not stuck."""

    async def scenario() -> list[tuple[int, int]]:
        slots, found = SessionSlots(56), []
        taken = [
            await _take(slots, stream) for stream in (CAMPAIGN, Stream("a.example"), Stream("b.example"))
        ]
        for slot in taken:
            slots.note_begun(slot)
        for _ in range(2):
            await asyncio.sleep(0.1)
            found.append((slots.count_stuck(is_campaign=True), slots.count_stuck(is_campaign=False)))
            slots.note_refused(taken[1])
        return found

    assert asyncio.run(scenario()) == [(1, 2), (1, 1)]
