"""A pool has its share of the sessions of a server, as far as the delivery log can tell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mailctl.domain.session_shares import SessionDemand
from mailctl.errors import LogUnavailable
from mailctl.smtp.session_share import SessionShare

if TYPE_CHECKING:
    from mailctl.delivery_log.session_shares import SessionShares


@dataclass
class Log:
    """The sessions to a server in a delivery log, and what it was asked."""

    limit: int | None = None
    is_down: bool = False
    asked: list[str] = field(default_factory=list)

    def is_limited(self) -> bool:
        """Whether a limit was learned."""
        self._note("is limited")
        return self.limit is not None

    def exchange(self, holder: str, demand: SessionDemand) -> int | None:
        """Take a report, and return a share."""
        self._note("exchange")
        return self.limit

    def note_refusal(self, holder: str, demand: SessionDemand, *, reason: str) -> int | None:
        """Learn a limit, and return a share."""
        self._note(reason)
        self.limit = demand.opened
        return self.limit

    def leave(self, holder: str) -> None:
        """Forget a process."""
        self._note("leave")

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.is_down:
            raise LogUnavailable("It is down.")


class Pool:
    """A pool that has opened two sessions, and counts how often its share may have changed."""

    def __init__(self, log: Log) -> None:
        self.changes = 0
        self.share = SessionShare(
            cast("SessionShares", log),
            demand=lambda: SessionDemand(opened=2, wanted=1),
            on_change=self._note_change,
        )

    def _note_change(self) -> None:
        self.changes += 1


def test_without_a_limit_the_log_is_asked_once_in_a_while() -> None:
    """However many messages are sent; a session that is about to be opened may ask sooner."""

    async def scenario() -> tuple[list[str], int | None]:
        log = Log()
        pool = Pool(log)
        for _ in range(20):
            await pool.share.look()
        return log.asked, pool.share.allowed

    assert asyncio.run(scenario()) == (["is limited"], None)


def test_a_limit_that_others_have_learned_is_shared() -> None:
    """From then on the pool reports its sessions, and leaves at its end."""

    async def scenario() -> tuple[list[str], int | None, int]:
        log = Log(limit=3)
        pool = Pool(log)
        await pool.share.look()
        await pool.share.look(is_opening=True)
        await pool.share.close()
        return log.asked, pool.share.allowed, pool.changes

    assert asyncio.run(scenario()) == (["is limited", "exchange", "leave"], 3, 1)


def test_a_refusal_is_told_to_all() -> None:
    """The share of this pool follows at once."""

    async def scenario() -> tuple[str, int | None]:
        log = Log()
        pool = Pool(log)
        await pool.share.note_refusal("421 too many")
        await pool.share.close()
        return log.asked[0], pool.share.allowed

    assert asyncio.run(scenario()) == ("421 too many", 2)


def test_a_log_that_is_down_takes_no_session_away() -> None:
    """Email goes out with what is known."""

    async def scenario() -> tuple[int | None, int]:
        pool = Pool(Log(is_down=True))
        await pool.share.look()
        await pool.share.note_refusal("421 too many")
        await pool.share.close()
        return pool.share.allowed, pool.changes

    assert asyncio.run(scenario()) == (None, 0)
