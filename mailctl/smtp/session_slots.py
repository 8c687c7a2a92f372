"""Who may use a session next: of several, no campaign has all, and other email goes first.

How many sessions the emails to a domain may have is decided in `streams`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.smtp.pool_limits import stall
from mailctl.smtp.streams import STUCK_SECONDS, Slot, Streams, campaign_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.outcomes import Outcome
    from mailctl.smtp.streams import Stream

#: Sessions that are opened at once for the first messages, and at least.
FIRST_SESSIONS = 4
#: Seconds for which it is awaited whether the server allows the sessions that are being opened.
CAUTION_SECONDS = 1.0
#: Seconds after which a message does not wait any more for emails that do not end.
LONGEST_STALL_SECONDS = STUCK_SECONDS
#: How many messages wait for more sessions than the server allows this process now, so that other processes
#: see that it needs them.
_WAITING_FOR_MORE = 4
#: Of fewer than these, messages wait for more with a slot, and return to the log if none comes.
_FEW_SESSIONS = 10
#: Seconds between two looks for emails that do not end.
_LOOK_SECONDS = 1.0


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


@dataclass(frozen=True, eq=False)
class _WaitingMessage:
    """A message that waits for a slot."""

    stream: Stream
    since: float
    #: The slot that it has got, or the outcome that it ends with.
    ended: asyncio.Future[Slot | Outcome]


class SessionSlots:
    """One slot for each session that may be in use; only one event loop uses it.

    Args:
        sessions: how many there are.
        allowed: returns how many of them the server allows now.
    """

    def __init__(self, sessions: int, *, allowed: Callable[[], int] | None = None) -> None:
        self._sessions = sessions
        self._allowed = allowed or (lambda: sessions)
        self.free = sessions
        #: Slots that campaigns leave free.
        self._kept = sessions - campaign_sessions(sessions)
        self._streams = Streams()
        #: The messages that wait, by their stream; the stream whose turn is next comes first.
        self._waiting: dict[Stream, deque[_WaitingMessage]] = {}
        self._campaign_waiting: dict[Stream, deque[_WaitingMessage]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, stream: Stream) -> Slot | Outcome:
        """Take a slot, and wait until there is one.

        Returns:
            The slot, to be released; or the outcome of the message, if it waits in vain for emails that do
            not end.
        """
        self._watch()
        waiting = self._campaign_waiting if stream.is_campaign else self._waiting
        if not waiting and self._may_take(stream):
            return self._take(stream)
        now = time.monotonic()
        if self._streams.stalled_for(stream, now) and not self._may_take(stream):
            return self._stall_of(stream, now)
        entry = _WaitingMessage(stream, now, asyncio.get_running_loop().create_future())
        waiting.setdefault(stream, deque()).append(entry)
        self._grant_all()  # it may be the only one whose stream may have another slot
        try:
            return await entry.ended
        except asyncio.CancelledError:
            was_ended = not self._forget(entry) and not entry.ended.cancelled()
            if was_ended and isinstance(slot := entry.ended.result(), Slot):
                self.release(slot)
            raise

    def note_begun(self, slot: Slot) -> None:
        """Note that an email that has a slot has a session."""
        slot.begun_at = time.monotonic()

    def note_refused(self, slot: Slot) -> None:
        """Note that the server took the session of an email back, which waits for another one."""
        slot.begun_at = None

    def release(self, slot: Slot, *, is_answered: bool = False) -> None:
        """Give a slot back, and let the next message have it.

        Args:
            is_answered: whether the server has replied to its email.
        """
        self.free += 1
        self._streams.give_back(slot, is_answered=is_answered, now=time.monotonic())
        self._grant_all()

    def held(self, stream: Stream) -> int:
        """Return how many slots the emails of a stream have."""
        return self._streams.held(stream)

    def stall_of_all(self) -> Outcome | None:
        """Return the outcome of a message that waits while no email is answered; None if some may be soon."""
        seconds = self._streams.all_stalled_for(time.monotonic())
        return stall(self._sessions - self.free, seconds) if seconds else None

    def count_waiting_for_more(self) -> int:
        """Return how many messages wait that more sessions may help, up to a few."""
        now = time.monotonic()
        waiting = [*self._waiting.items(), *self._campaign_waiting.items()]
        count = sum(len(some) for stream, some in waiting if not self._streams.stalled_for(stream, now))
        return min(_WAITING_FOR_MORE, count)

    def count_stuck(self, *, is_campaign: bool) -> int:
        """Return how many emails have had a session for long, of campaigns or others; any thread may ask."""
        return self._streams.stuck[is_campaign]

    def _take(self, stream: Stream) -> Slot:
        self.free -= 1
        return self._streams.take(stream)

    def _may_take(self, stream: Stream) -> bool:
        if self.free <= (self._kept if stream.is_campaign else 0):
            return False
        sessions = self._shared_sessions()
        free = self.free - (self._sessions - sessions)
        return self._streams.may_take(stream, free=free, sessions=sessions, allowed=self._allowed())

    def _shared_sessions(self) -> int:
        """Return how many sessions the streams share, of a few also some for which messages wait."""
        allowed = self._allowed()
        return min(self._sessions, allowed + (_WAITING_FOR_MORE if allowed < _FEW_SESSIONS else 0))

    def _grant_all(self) -> None:
        self._grant(self._waiting)
        self._grant(self._campaign_waiting)

    def _grant(self, waiting: dict[Stream, deque[_WaitingMessage]]) -> None:
        while (stream := next(filter(self._may_take, waiting), None)) is not None:
            messages = waiting.pop(stream)
            entry = messages.popleft()
            if messages:
                waiting[stream] = messages  # after the others
            if not entry.ended.done():
                entry.ended.set_result(self._take(stream))

    def _forget(self, entry: _WaitingMessage) -> bool:
        """Let a message wait no more; return whether it did."""
        waiting = self._campaign_waiting if entry.stream.is_campaign else self._waiting
        messages = waiting.get(entry.stream, deque())
        if entry not in messages:
            return False
        messages.remove(entry)
        if not messages:
            del waiting[entry.stream]
        return True

    def _watch(self) -> None:
        """Look from time to time, as long as there are emails, whether they end."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, now = None, time.monotonic()
        self._streams.look(sessions=self._shared_sessions(), now=now)
        self._grant_all()
        self._send_away(now)
        if self._streams.are_in_use or self._waiting or self._campaign_waiting:
            self._watch()

    def _send_away(self, now: float) -> None:
        """End who has waited for long behind emails that do not end: other emails wait for its place."""
        before = now - LONGEST_STALL_SECONDS
        is_all_stalled = self._streams.all_stalled_for(now) > 0
        for stream, messages in [*self._waiting.items(), *self._campaign_waiting.items()]:
            if not is_all_stalled and not self._streams.stalled_for(stream, now):
                continue
            outcome = self._stall_of(stream, now)
            for entry in [each for each in messages if each.since <= before]:
                self._forget(entry)
                if not entry.ended.done():
                    entry.ended.set_result(outcome)

    def _stall_of(self, stream: Stream, now: float) -> Outcome:
        """Return the outcome of a message that waits for emails of its stream, or of all, that do not end."""
        if seconds := self._streams.stalled_for(stream, now):
            return stall(self.held(stream), seconds, domain=stream.domain)
        return stall(self._sessions - self.free, self._streams.all_stalled_for(now))


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
