"""Who may use a session next: campaigns never have all of them, and other email goes first.

The decisions are pure; `SessionSlots` waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: Sessions that are opened at once for the first messages, and at least.
FIRST_SESSIONS = 4
#: Seconds for which it is awaited whether the server allows the sessions that are being opened.
CAUTION_SECONDS = 1.0


def campaign_sessions(sessions: int) -> int:
    """Return how many of so many sessions a campaign may use: all but one, and at least one."""
    return max(1, sessions - 1)


def may_open_another(*, opening: int, opened: int, proven: int) -> bool:
    """Whether one more session may be opened for a message that waits.

    The number doubles with each round trip as long as messages wait, so that a few emails do not open as many
    sessions as a campaign. Beyond what is proven, it grows by half: a server that allows fewer refuses few.

    Args:
        opening: how many sessions are being opened.
        opened: how many are open.
        proven: how many the server is known to allow at a time.
    """
    if opening + opened < proven:
        return opening < max(FIRST_SESSIONS, opened)
    return opening < max(1, opened // 2)


class SessionSlots:
    """One slot for each session that may be in use; only one event loop uses it.

    Args:
        sessions: how many there are.
    """

    def __init__(self, sessions: int) -> None:
        self.free = sessions
        #: Slots that campaigns leave free.
        self._kept = sessions - campaign_sessions(sessions)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._campaign_waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, is_campaign: bool = False) -> None:
        """Take a slot, and wait until there is one.

        Args:
            is_campaign: whether it is for an email of a campaign, which leaves one to others.
        """
        waiting = self._campaign_waiting if is_campaign else self._waiting
        if not waiting and self._is_free(is_campaign=is_campaign):
            self.free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            elif granted in waiting:
                waiting.remove(granted)
            raise

    def release(self) -> None:
        """Give a slot back, and let the next message have it."""
        self.free += 1
        self._grant(self._waiting, is_campaign=False)
        self._grant(self._campaign_waiting, is_campaign=True)

    def _grant(self, waiting: deque[asyncio.Future[None]], *, is_campaign: bool) -> None:
        while waiting and self._is_free(is_campaign=is_campaign):
            granted = waiting.popleft()
            if not granted.done():
                self.free -= 1
                granted.set_result(None)

    def _is_free(self, *, is_campaign: bool) -> bool:
        return self.free > (self._kept if is_campaign else 0)


class SessionQueue:
    """Messages that wait until a session may be free; those of campaigns come last."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._campaign_waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._campaign_waiting)

    async def wait(self, *, is_campaign: bool, seconds: float | None) -> None:
        """Wait to be woken.

        Args:
            is_campaign: whether it is for an email of a campaign.
            seconds: for how long at most; None for no limit.
        """
        loop = asyncio.get_running_loop()
        waiting = self._campaign_waiting if is_campaign else self._waiting
        freed: asyncio.Future[None] = loop.create_future()
        waiting.append(freed)
        timer = None if seconds is None else loop.call_later(seconds, _wake, freed)
        try:
            await freed
        except asyncio.CancelledError:
            if freed.done() and not freed.cancelled():
                self.wake_next()  # instead of this one, which was woken and does not look any more
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if freed in waiting:
                waiting.remove(freed)

    def wake_next(self) -> None:
        """Let the next message look for a session again."""
        for waiting in (self._waiting, self._campaign_waiting):
            while waiting:
                if _wake(waiting.popleft()):
                    return

    def wake_all(self) -> None:
        """Let all messages look for sessions again."""
        for _ in range(len(self)):
            self.wake_next()


def _wake(freed: asyncio.Future[None]) -> bool:
    """Let a message look for a session again; return whether it was still waiting."""
    if freed.done():
        return False
    freed.set_result(None)
    return True
