"""The state of a pool: idle, leased and expired sessions; `tests/integration` has it with a server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.smtp.classify import classify_reply
from mailctl.smtp.pool import SmtpPool
from mailctl.smtp.pool_limits import PoolLimits
from mailctl.smtp.server import SmtpServer
from mailctl.smtp.streams import Slot, Stream

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, stage="body")
REFUSED = classify_reply(550, "5.1.1 no", stage="rcpt")
SERVER = SmtpServer(host="mail.example.com", port=587)

STREAM = Stream("example.com")


class FakeSession:
    """A session without a connection."""

    def __init__(self, *, transactions: int = 1) -> None:
        self.is_connected = True
        self.is_clean = True
        self.is_closed = False
        self.has_quit = False
        self.transactions = transactions
        self.opened_at = self.used_at = 0.0

    def can_be_reused(self, outcome: Outcome) -> bool:
        """Return whether the outcome is a plain refusal."""
        return outcome.kind is OutcomeKind.REFUSED

    async def reset(self) -> bool:
        """Return whether the session is clean."""
        return self.is_clean

    async def quit(self) -> None:
        """Record QUIT."""
        self.has_quit = True

    def close(self) -> None:
        """Record the end of the connection."""
        self.is_closed = True


class Pool(SmtpPool):
    """A pool whose state can be inspected."""

    def lease(self, session: Any) -> Slot:
        """Lease a session, as `send` does."""
        self._leased.add(session)
        return self._slots._take(STREAM)

    @property
    def state(self) -> tuple[int, int, int]:
        """The numbers of idle and leased sessions, and of free slots."""
        return len(self._idle), len(self._leased), self._slots.free


async def released(session: FakeSession, outcome: Outcome, **limits: Any) -> tuple[int, int, int]:
    pool = Pool(SERVER, limits=PoolLimits(connections=2, max_idle_seconds=1e9, max_age_seconds=1e9, **limits))
    slot = pool.lease(session)
    pool._release(session, outcome, slot)  # type: ignore[arg-type]
    while pool._background:
        await asyncio.gather(*pool._background)
    state = pool.state
    await pool.close()
    return state


def test_a_session_is_idle_after_a_success() -> None:
    """It closes with QUIT when the pool is closed."""
    session = FakeSession()
    assert asyncio.run(released(session, ACCEPTED)) == (1, 0, 2)
    assert (session.is_closed, session.has_quit) == (False, True)


@pytest.mark.parametrize(("is_clean", "idle"), [(True, 1), (False, 0)])
def test_a_session_is_reset_after_a_refusal(is_clean: bool, idle: int) -> None:
    """It is closed if the server does not agree."""
    session = FakeSession()
    session.is_clean = is_clean
    assert asyncio.run(released(session, REFUSED)) == (idle, 0, 2)
    assert session.is_closed is not is_clean


def test_a_session_is_closed_after_any_other_outcome() -> None:
    """Its replies may belong to other commands."""
    session = FakeSession()
    assert asyncio.run(released(session, Outcome(kind=OutcomeKind.AMBIGUOUS, stage="body"))) == (0, 0, 2)
    assert session.is_closed


def test_a_session_ends_after_its_number_of_messages() -> None:
    """Servers limit them."""
    session = FakeSession(transactions=100)
    assert asyncio.run(released(session, ACCEPTED, messages_per_session=100)) == (0, 0, 2)
    assert session.has_quit


def test_a_closed_pool_opens_no_session() -> None:
    """A message that comes too late is not sent."""

    async def lease() -> None:
        pool = Pool(SERVER)
        await pool.close()
        pool._lease_fresh()

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(lease())


def test_a_waiting_message_that_is_cancelled_as_it_is_woken_wakes_the_next() -> None:
    """Otherwise a session is idle, and a message waits for it."""

    async def leased() -> bool:
        pool = Pool(SERVER)
        slot = pool.lease(session := FakeSession())
        session.used_at = session.opened_at = time.monotonic()
        pool._session_limit.note_refusal(others=1, now=time.monotonic())
        first, second = (asyncio.create_task(pool._lease_when_allowed()) for _ in range(2))
        await asyncio.sleep(0)
        pool._release(session, ACCEPTED, slot)  # type: ignore[arg-type]
        first.cancel()
        await asyncio.wait([first])
        found, _ = await asyncio.wait_for(second, 60) or (None, False)
        return found is session

    assert asyncio.run(leased())
