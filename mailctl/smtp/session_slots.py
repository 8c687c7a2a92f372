"""Who may use a session next: no campaign and no domain ever has all of them, and other email goes first.

The decisions are pure; `SessionSlots` waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mailctl.domain.routing import domain_of
from mailctl.smtp.pool_limits import domain_stalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.models import Envelope
    from mailctl.domain.outcomes import Outcome

#: Sessions that are opened at once for the first messages, and at least.
FIRST_SESSIONS = 4
#: Seconds for which it is awaited whether the server allows the sessions that are being opened.
CAUTION_SECONDS = 1.0
#: The share of sessions that others miss if it is stuck.
_LARGE_SHARE = 0.25
#: Sessions that a domain may have for each that it leaves free, from so many sessions on.
_HELD_FOR_EACH_FREE, _SHARED_SESSIONS = 9, 10
#: Seconds after which a message does not wait any more for the emails to its domain that have all sessions.
STALL_SECONDS = 5.0
#: Seconds between two looks for domains whose emails do not end.
_LOOK_SECONDS = 1.0


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


def may_hold_another(
    *, held: int, free: int, sessions: int, is_stalled: bool = False, has_stalled: bool = False
) -> bool:
    """Whether emails to a domain may have one more session, so that one that does not answer leaves some.

    Those of campaigns, and all others, may have nine sessions for each that stays free, but for the last one,
    which is for a domain that has none: of 56, 50 at most. While another domain has stalled, they may have
    one for each: of the six, three, so that several domains may stall. Of fewer than ten, any domain may have
    all, but no more once it has stalled.

    Args:
        held: how many sessions emails to this domain have.
        free: how many sessions nobody has.
        sessions: how many there are.
        is_stalled: whether the emails to this domain do not end.
        has_stalled: whether those to another domain do not.
    """
    if not held:
        return True
    if sessions < _SHARED_SESSIONS:
        return not is_stalled
    return held < (1 if has_stalled else _HELD_FOR_EACH_FREE) * (free - 1)


class Stream(NamedTuple):
    """The emails to one domain, those of campaigns or all others."""

    domain: str
    is_campaign: bool = False

    @classmethod
    def of(cls, envelope: Envelope) -> Stream:
        """Return the stream of a message."""
        return cls(domain_of(envelope.recipient), envelope.is_of_campaign)


@dataclass
class _Use:
    """The slots that the emails of a stream have."""

    held: int = 0
    #: How many of these emails have a session; the others wait for one, whoever has them.
    begun: int = 0
    #: When one of them was given back last, or an email got a session.
    moved_at: float = 0.0

    def has_stalled(self, now: float, *, sessions: int) -> bool:
        """Whether it has a large part of the sessions, and none of its emails has ended for a while."""
        return self.begun >= max(1, sessions * _LARGE_SHARE) and now - self.moved_at >= STALL_SECONDS


@dataclass(frozen=True, eq=False)
class _WaitingMessage:
    """A message that waits for a slot."""

    stream: Stream
    since: float
    #: Whether it has got one.
    granted: asyncio.Future[bool]


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
        self._uses: dict[Stream, _Use] = {}
        #: The messages that wait, by their stream; the stream whose turn is next comes first.
        self._waiting: dict[Stream, deque[_WaitingMessage]] = {}
        self._campaign_waiting: dict[Stream, deque[_WaitingMessage]] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: The streams that have stalled, as they were found last, and when that was.
        self._stalled: frozenset[Stream] = frozenset()
        self._looked_at = 0.0

    async def acquire(self, stream: Stream) -> bool:
        """Take a slot, and wait until there is one.

        Returns:
            Whether it was taken; False if the emails of the stream have all that they may have, and do not
            end.
        """
        waiting = self._campaign_waiting if stream.is_campaign else self._waiting
        if not waiting and self._is_free(is_campaign=stream.is_campaign) and self._may_hold(stream):
            self._take(stream)
            return True
        if self.stalled_for(stream) >= STALL_SECONDS:
            return False
        entry = _WaitingMessage(stream, time.monotonic(), asyncio.get_running_loop().create_future())
        waiting.setdefault(stream, deque()).append(entry)
        self._watch()
        self._grant_all()  # it may be the only one whose stream may have another slot
        try:
            return await entry.granted
        except asyncio.CancelledError:
            if not self._forget(entry) and not entry.granted.cancelled() and entry.granted.result():
                self.release(stream)
            raise

    def note_begun(self, stream: Stream) -> None:
        """Note that an email that has a slot has a session, or another one."""
        use = self._uses[stream]
        use.begun, use.moved_at = min(use.held, use.begun + 1), time.monotonic()

    def release(self, stream: Stream) -> None:
        """Give a slot back, and let the next message have it."""
        self.free += 1
        use = self._uses[stream]
        use.held, use.begun, use.moved_at = use.held - 1, max(0, use.begun - 1), time.monotonic()
        if not use.held:
            del self._uses[stream]
        self._grant_all()

    def held(self, stream: Stream) -> int:
        """Return how many slots the emails of a stream have."""
        use = self._uses.get(stream)
        return 0 if use is None else use.held

    def explain_stall(self, stream: Stream) -> Outcome:
        """Return the outcome of a message that got no slot."""
        return domain_stalls(stream.domain, self.held(stream), self.stalled_for(stream))

    def stalled_for(self, stream: Stream) -> float:
        """Return for how many seconds no email of a stream has ended that has all sessions it may have."""
        use = self._uses.get(stream)
        if use is None or not use.begun or self._may_hold(stream):
            return 0.0
        return time.monotonic() - use.moved_at

    def _take(self, stream: Stream) -> None:
        self.free -= 1
        use = self._uses.get(stream)
        if use is None:
            use = self._uses[stream] = _Use(moved_at=time.monotonic())
        use.held += 1

    def _may_hold(self, stream: Stream) -> bool:
        use = self._uses.get(stream)
        if use is None:
            return True
        sessions = min(self._sessions, self._allowed())
        stalled = self._stalled_streams(sessions)
        return may_hold_another(
            held=use.held,
            free=self.free - (self._sessions - sessions),
            sessions=sessions,
            is_stalled=stream in stalled,
            has_stalled=bool(stalled - {stream}),
        )

    def _stalled_streams(self, sessions: int) -> frozenset[Stream]:
        now = time.monotonic()
        if now >= self._looked_at + _LOOK_SECONDS:
            self._looked_at = now
            self._stalled = frozenset(
                stream for stream, use in self._uses.items() if use.has_stalled(now, sessions=sessions)
            )
        return self._stalled

    def _grant_all(self) -> None:
        self._grant(self._waiting, is_campaign=False)
        self._grant(self._campaign_waiting, is_campaign=True)

    def _grant(self, waiting: dict[Stream, deque[_WaitingMessage]], *, is_campaign: bool) -> None:
        while self._is_free(is_campaign=is_campaign):
            stream = next(filter(self._may_hold, waiting), None)
            if stream is None:
                return
            messages = waiting.pop(stream)
            entry = messages.popleft()
            if messages:
                waiting[stream] = messages  # after the others
            if not entry.granted.done():
                self._take(stream)
                entry.granted.set_result(True)

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

    def _is_free(self, *, is_campaign: bool) -> bool:
        return self.free > (self._kept if is_campaign else 0)

    def _watch(self) -> None:
        """Look from time to time whether messages wait in vain."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS / 4, self._on_timer)

    def _on_timer(self) -> None:
        """Send away who has waited for long because of its stream: others wait behind it for their claims."""
        self._timer = None
        before = time.monotonic() - STALL_SECONDS
        for stream, messages in [*self._waiting.items(), *self._campaign_waiting.items()]:
            if not self.stalled_for(stream):
                continue
            for entry in [each for each in messages if each.since <= before]:
                self._forget(entry)
                if not entry.granted.done():
                    entry.granted.set_result(False)
        if self._waiting or self._campaign_waiting:
            self._watch()


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
