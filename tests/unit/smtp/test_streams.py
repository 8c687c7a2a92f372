"""How many sessions the emails to one domain may have."""

from __future__ import annotations

import random

import pytest

from mailctl.smtp.streams import (
    STUCK_SECONDS,
    Slot,
    Stream,
    Streams,
    campaign_sessions,
    first_sessions,
    kept_sessions,
    most_sessions,
)


@pytest.mark.parametrize(("sessions", "expected"), [(1, 1), (2, 1), (50, 49)])
def test_a_campaign_uses_all_sessions_but_one(sessions: int, expected: int) -> None:
    """And at least one."""
    assert campaign_sessions(sessions) == expected


@pytest.mark.parametrize(
    ("sessions", "first", "most", "kept"),
    [(1, 1, 1, 0), (2, 1, 2, 0), (3, 2, 3, 0), (4, 2, 3, 1), (10, 3, 9, 1), (20, 3, 18, 1), (56, 8, 50, 2)],
)
def test_parts_of_the_sessions(sessions: int, first: int, most: int, kept: int) -> None:
    """Of a domain that has not answered yet, of one that has, and for those that have."""
    assert (first_sessions(sessions), most_sessions(sessions), kept_sessions(sessions)) == (first, most, kept)


class Pool:
    """Sessions and their streams, with a clock of its own."""

    def __init__(self, sessions: int) -> None:
        self.sessions = sessions
        self.free = sessions
        self.now = 1000.0
        self.streams = Streams()

    def take(self, stream: Stream) -> Slot | None:
        """Let an email begin, if it may."""
        if not self.streams.may_take(stream, free=self.free, sessions=self.sessions, allowed=self.sessions):
            return None
        slot = self.streams.take(stream)
        slot.begun_at, self.free = self.now, self.free - 1
        return slot

    def take_all(self, domain: str) -> list[Slot]:
        """Let as many emails to a domain begin as may."""
        return list(iter(lambda: self.take(Stream(domain)), None))

    def give_back(self, slot: Slot, *, is_answered: bool = True) -> None:
        """Let an email end."""
        self.free += 1
        self.streams.give_back(slot, is_answered=is_answered, now=self.now)

    def prove(self, domain: str, count: int) -> None:
        """Let emails to a domain be answered, one after the other."""
        for _ in range(count):
            slot = self.take(Stream(domain))
            assert slot is not None
            self.give_back(slot)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.streams.look(sessions=self.sessions, now=self.now)


@pytest.mark.parametrize(
    ("sessions", "held"),
    [
        (56, [8, 7, 6, 5, 5, 4, 3, 3, 3, 3, 3, 3]),
        (20, [3, 3, 3, 3, 3, 3, 1]),
        (9, [3, 3, 2]),
        (4, [2, 1]),
        (2, [1, 1]),
    ],
)
@pytest.mark.parametrize("pause", [0.0, 60.0])
def test_domains_that_never_answer_leave_sessions_to_others(
    sessions: int, held: list[int], pause: float
) -> None:
    """Of many, a dozen such domains; whether they come together or one after the other."""
    pool, found = Pool(sessions), []
    for number in range(len(held)):
        found.append(len(pool.take_all(f"dead{number}.example")))
        pool.wait(pause)
    assert found == held


def windows_of(pool: Pool, *, seconds: float, is_answered: bool = True) -> list[int]:
    """Return how many emails to a domain begin together, several times, each ending after some seconds."""
    windows = []
    for _ in range(5):
        slots = pool.take_all("example.com")
        windows.append(len(slots))
        pool.wait(seconds)
        for slot in slots:
            pool.give_back(slot, is_answered=is_answered)
    return windows


@pytest.mark.parametrize("seconds", [0.0, 6.0, 12.0])
def test_a_domain_gets_one_session_more_with_each_answer(seconds: float) -> None:
    """So it has all that it may have after a few round trips, also one that answers late."""
    assert windows_of(Pool(56), seconds=seconds) == [8, 16, 32, 50, 50]


def test_a_timeout_is_no_answer() -> None:
    """A domain that does not reply gets no more each time."""
    assert windows_of(Pool(56), seconds=30.0, is_answered=False) == [8, 8, 8, 8, 8]


def test_a_domain_that_stops_answering_gets_no_more_sessions() -> None:
    """It keeps those that it has; the others share the rest."""
    pool = Pool(56)
    pool.prove("example.com", 60)
    slots = [pool.take(Stream("example.com")) for _ in range(20)]
    pool.wait(STUCK_SECONDS)
    assert all(slots)
    assert pool.take(Stream("example.com")) is None
    assert [len(pool.take_all(f"{name}.example")) for name in "ab"] == [6, 5]


def test_few_emails_that_are_stuck_leave_their_domain_the_sessions_of_a_new_one() -> None:
    """And it grows again as they are answered."""
    pool = Pool(56)
    pool.prove("example.com", 60)
    stuck = [pool.take(Stream("example.com")) for _ in range(2)]
    pool.wait(STUCK_SECONDS)
    slots = pool.take_all("example.com")
    assert len(stuck) + len(slots) == 8
    for slot in slots:
        pool.give_back(slot)
    assert len(stuck) + len(pool.take_all("example.com")) == 14


def test_domains_that_answer_get_sessions_behind_any_number_that_do_not() -> None:
    """Two of 56 are for them."""
    pool = Pool(56)
    pool.prove("example.com", 1)
    for number in range(100):
        pool.take_all(f"dead{number}.example")
    assert pool.free == 2
    assert pool.take(Stream("example.com")) is not None
    assert pool.take(Stream("new.example")) is None


def test_emails_to_many_domains_use_the_sessions() -> None:
    """Each has one; nobody has answered yet."""
    pool = Pool(56)
    assert all(pool.take(Stream(f"d{number}.example")) for number in range(54))


def test_a_domain_that_was_quiet_begins_with_few_sessions_again() -> None:
    """It may have stopped answering since; but those that are for domains that answer are for it."""
    pool = Pool(56)
    pool.prove("example.com", 60)
    pool.wait(60)
    slots = pool.take_all("example.com")
    assert len(slots) == 8
    for slot in slots:
        pool.give_back(slot, is_answered=False)
    for number in range(100):
        pool.take_all(f"dead{number}.example")
    assert pool.take(Stream("example.com")) is not None


def test_of_very_many_domains_those_that_answered_last_are_remembered() -> None:
    """A campaign goes to more than fit into memory."""
    pool = Pool(56)
    pool.prove("early.example", 60)
    for number in range(600):
        pool.now += 1
        pool.prove(f"d{number}.example", 1)
    pool.prove("late.example", 60)
    pool.wait(1)
    assert len(pool.streams._uses) == 500
    assert [len(pool.take_all(f"{name}.example")) for name in ("early", "late")] == [8, 43]


@pytest.mark.parametrize(("sessions", "held"), [(2, 1), (3, 2), (4, 2), (5, 3), (9, 6)])
def test_the_campaigns_and_other_emails_to_a_dead_domain_leave_one_of_a_few(sessions: int, held: int) -> None:
    """They are counted together as long as neither was answered."""
    pool = Pool(sessions)
    for _ in range(9):
        pool.take(Stream("dead.example", is_campaign=True))
        pool.take(Stream("dead.example"))
    assert pool.sessions - pool.free == held
    assert pool.take(Stream("other.example")) is not None


def test_emails_to_a_domain_that_answers_late_are_stuck_later() -> None:
    """After twice the time that the last answer took."""
    pool = Pool(56)
    for slot in pool.take_all("slow.example"):
        pool.now += 1
        pool.give_back(slot)
    pool.take_all("slow.example")
    pool.wait(15)
    assert (pool.streams.stuck[False], pool.streams.stalled_for(Stream("slow.example"), pool.now)) == (0, 0)
    pool.wait(1)
    assert pool.streams.stuck[False] == 16


def test_how_long_nothing_has_ended() -> None:
    """Of a stream, and of all of them."""
    pool = Pool(56)
    first, other = pool.take(Stream("a.example")), pool.take(Stream("b.example"))
    assert first is not None
    assert other is not None
    pool.wait(STUCK_SECONDS - 1)
    assert pool.streams.stalled_for(Stream("a.example"), pool.now) == 0
    pool.give_back(other)
    pool.wait(2)
    streams = pool.streams
    assert streams.stalled_for(Stream("a.example"), pool.now) == STUCK_SECONDS + 1
    assert (streams.stalled_for(Stream("b.example"), pool.now), streams.all_stalled_for(pool.now)) == (0, 0)
    pool.wait(STUCK_SECONDS)
    assert streams.all_stalled_for(pool.now) == STUCK_SECONDS + 2


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_sessions_are_neither_lost_nor_exceeded(seed: int) -> None:
    """And whoever comes alone gets one."""
    chance = random.Random(seed)
    pool = Pool(chance.choice([1, 2, 3, 4, 7, 10, 20, 56]))
    taken: list[Slot] = []
    for _ in range(2000):
        what = chance.random()
        if what < 0.5:
            stream = Stream(f"d{chance.randrange(8)}.example", is_campaign=chance.random() < 0.3)
            if (slot := pool.take(stream)) is not None:
                taken.append(slot)
        elif what < 0.9 and taken:
            pool.give_back(taken.pop(chance.randrange(len(taken))), is_answered=chance.random() < 0.7)
        else:
            pool.wait(chance.random() * 4)
        assert pool.free == pool.sessions - len(taken) >= 0
        assert pool.streams._unproven == sum(
            len(use.slots) for use in pool.streams._uses.values() if not use.is_proven
        )
    for slot in taken:
        pool.give_back(slot)
    assert pool.take(Stream("d0.example")) is not None
