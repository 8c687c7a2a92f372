"""A pool of SMTP sessions for one event loop.

Functions without `async` change the state of the pool and return what must be closed; the others do the I/O.
A session is leased from the moment of its assignment, and is reused only after a definite reply.
"""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory
from mailctl.domain.session_shares import SessionDemand
from mailctl.smtp.background_work import BackgroundWork
from mailctl.smtp.classify import CLOSING_CODE, is_server_stage
from mailctl.smtp.idle_sessions import IdleSessions
from mailctl.smtp.pacing import ProcessSessionLimit
from mailctl.smtp.pool_limits import NO_SESSION, NOT_ITS_TURN, PoolLimits
from mailctl.smtp.probe import probe_session
from mailctl.smtp.sender import no_fence
from mailctl.smtp.server import make_tls_context
from mailctl.smtp.session import SESSION_ERRORS, SmtpSession
from mailctl.smtp.session_share import SessionShare
from mailctl.smtp.session_slots import CAUTION_SECONDS, SessionQueue, SessionSlots, may_open_another
from mailctl.smtp.streams import Stream, campaign_sessions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from mailctl.delivery_log.session_shares import SessionShares
    from mailctl.domain.models import Envelope
    from mailctl.smtp.probe import ProbeStep
    from mailctl.smtp.server import SmtpServer
    from mailctl.smtp.streams import Slot

#: How often expired sessions are closed during the longest time for which a session may be idle.
_SWEEPS = 4
#: Seconds to wait for pending QUIT commands when the pool is closed.
_CLOSE_SECONDS = 3.0
#: Seconds that a message waits for a session of other workers; then it goes back to the log.
LONGEST_WAIT_SECONDS = 5.0
#: Seconds between two looks whether the first session of a process may be opened.
_BEGINNING_SECONDS = 0.05
#: Seconds after a message for which its session counts as needed: the next one may be on its way.
_NEEDED_SECONDS = 1.0


class SmtpPool:
    """A pool of SMTP sessions for one event loop; the first message opens the first session.

    Sessions become more while messages wait for one, and are closed when they have been idle for a while.
    Emails of campaigns never use all of them.

    Args:
        server: the mail server.
        limits: the limits of the pool; None for the defaults.
        shares: the sessions of all workers to this server; None if only this process has any.
    """

    def __init__(
        self, server: SmtpServer, *, limits: PoolLimits | None = None, shares: SessionShares | None = None
    ) -> None:
        self._server = server
        self._limits = limits or PoolLimits()
        self._slots = SessionSlots(self._limits.connections, allowed=self.capacity)
        self._idle = IdleSessions(self._limits)
        self._leased: set[SmtpSession] = set()
        self._closing: set[SmtpSession] = set()
        self._background = BackgroundWork()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._session_limit = ProcessSessionLimit(self._limits.connections)
        self._share: SessionShare | None = None
        if shares is not None:
            self._share = SessionShare(shares, demand=self._demand, on_change=self._follow_share)
        #: Who waits for a session, because the server allows no more of them, or others are being opened.
        self._waiting = SessionQueue()
        #: What the server said when it last refused a session.
        self._refusal: Outcome | None = None
        #: Whether the session that was opened last failed, other than as one too many.
        self._is_failing = False
        #: Whether the server has ever accepted a session.
        self._has_opened = False
        #: When opening a session failed last, and how.
        self._failed_at = 0.0
        self._failure: Outcome | None = None

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message to its recipient on an idle or a new session.

        Args:
            envelope: the message.
            fence: as `Sender.send`.

        Returns:
            The outcome. A failure of the server or the network is an outcome, never an exception.

        Raises:
            asyncio.CancelledError: the caller was cancelled; the message may have been sent if the body was
                handed over.
            RuntimeError: the pool is closed.
        """
        asked_at, slot = time.monotonic(), await self._slots.acquire(Stream.of(envelope))
        if isinstance(slot, Outcome):
            return slot
        if failure := self._failure_since(asked_at):
            self._slots.release(slot)
            return failure
        try:
            session, outcome = await self._deliver(envelope, fence, slot)
        except BaseException:
            self._slots.release(slot)
            raise
        self._learn(outcome)
        self._release(session, outcome, slot)
        return outcome

    def capacity(self, _server: str = "", /) -> int:
        """Return how many messages it sends at a time, as far as is known of its server."""
        return min(self._limits.connections, self._session_limit.allowed)

    def count_stuck(self, _server: str, /, *, is_campaign: bool) -> int:
        """Return how many messages, of campaigns or others, have had a session for long."""
        return self._slots.count_stuck(is_campaign=is_campaign)

    async def probe(self) -> list[ProbeStep]:
        """Open a new session step by step without sending a message.

        Returns:
            The steps taken: connect, tls, auth; only the last one can have failed.
        """
        session = SmtpSession(self._server, tls_context=lambda: self._tls_context)
        try:
            return await probe_session(session, self._server)
        finally:
            self._background.start(session.quit())

    async def close(self) -> None:
        """Close idle sessions with QUIT; leased sessions are closed when their message is done."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._quit_in_background(self._idle.pop_all())
        await asyncio.shield(self._background.wait(seconds=_CLOSE_SECONDS))
        if self._share is not None:
            await self._share.close()

    async def _deliver(
        self, envelope: Envelope, fence: Callable[[], None], slot: Slot
    ) -> tuple[SmtpSession | None, Outcome]:
        """Return the outcome, and the session that it came from; None if the server allows no session now."""
        asked_at = time.monotonic()
        while True:
            leased = await self._lease_when_allowed(is_campaign=envelope.is_of_campaign, fence=fence)
            if leased is None:
                return None, self._without_session(asked_at)
            self._slots.note_begun(slot)
            session, is_reused = leased
            outcome, is_lost = await self._attempt(session, envelope, fence)
            if is_reused and is_lost:
                # The server closed the session while it was idle. It got no body: a new session tries again.
                self._drop(session)
                session = self._lease_fresh()
                outcome, _ = await self._attempt(session, envelope, fence)
            if outcome.category is not ReplyCategory.CONNECTIONS or not is_server_stage(outcome.stage):
                return session, outcome
            # No outage: the message waits for one of the sessions that the server allows.
            self._drop(session)
            self._slots.note_refused(slot)
            self._refusal = outcome
            self._session_limit.note_refusal(others=self._open_sessions, now=time.monotonic())
            if self._share is not None:
                await self._share.note_refusal(outcome.text_with_stage)

    def _without_session(self, asked_at: float) -> Outcome:
        """Return the outcome of a message without a session; one that has waited is tried again soon."""
        has_waited = time.monotonic() >= asked_at + LONGEST_WAIT_SECONDS
        found = self._failure_since(asked_at) or self._slots.stall_of_all()
        return found or (NOT_ITS_TURN if has_waited else self._refusal or NO_SESSION)

    async def _lease_when_allowed(
        self, *, is_campaign: bool = False, fence: Callable[[], None] = no_fence
    ) -> tuple[SmtpSession, bool] | None:
        """Lease a session as `_lease`; None if there is none, and the server does not allow one soon.

        A message that has waited so long that it must not go any more opens no session.
        """
        asked_at = time.monotonic()
        while not self._failure_since(asked_at):
            self._discard_expired()
            if self._share is not None:
                is_opening = not self._idle and self._may_lease(is_campaign=is_campaign)
                await self._share.look(is_opening=is_opening)
                self._discard_expired()
                if not self._has_opened and not await self._share.may_begin():
                    await self._waiting.wait(is_campaign=is_campaign, seconds=_BEGINNING_SECONDS)
                    continue
            if self._may_lease(is_campaign=is_campaign):
                try:
                    fence()
                except BaseException:
                    self._waiting.wake_next()  # instead of this one
                    raise
                return self._lease()
            is_shared = self._share is not None and self._share.allowed is not None
            has_waited = time.monotonic() >= asked_at + LONGEST_WAIT_SECONDS
            is_in_vain = self._slots.stall_of_all() is not None if self._held_sessions else True
            if is_in_vain and (has_waited or not (is_shared or self._held_sessions)):
                return None
            seconds = CAUTION_SECONDS if self._is_cautious and not is_shared else LONGEST_WAIT_SECONDS
            await self._waiting.wait(is_campaign=is_campaign, seconds=seconds)
        return None

    def _may_lease(self, *, is_campaign: bool) -> bool:
        """Whether there is an idle session, or one may be opened, for a message."""
        if is_campaign and len(self._leased) >= campaign_sessions(self._session_limit.allowed):
            return False
        if self._idle:
            return True
        opening = len(self._opening)
        # A server that is slow or fails is no sign of one that allows few sessions.
        proven = self._session_limit.proven if self._is_cautious else self._limits.connections
        return may_open_another(
            opening=opening, opened=self._open_sessions - opening, proven=proven
        ) and self._session_limit.may_open(others=self._held_sessions, now=time.monotonic())

    @property
    def _opening(self) -> list[SmtpSession]:
        return [session for session in self._leased if not session.transactions]

    @property
    def _is_cautious(self) -> bool:
        """Whether sessions are being opened, and it shows soon whether the server allows them."""
        if self._is_failing:
            return False
        since = time.monotonic() - CAUTION_SECONDS
        return self._limits.shares_failures or all(each.opened_at > since for each in self._opening)

    @property
    def _open_sessions(self) -> int:
        return len(self._leased) + len(self._idle)

    @property
    def _held_sessions(self) -> int:
        """The sessions that the server still counts; the end of one matters only if it counts them."""
        return len(self._leased) + (len(self._closing) if self._session_limit.is_learned else 0)

    def _demand(self) -> SessionDemand:
        """Return what this process has of the sessions of all workers, and could use."""
        leased = sum(session.transactions > 0 for session in self._leased)
        since = time.monotonic() - _NEEDED_SECONDS
        needed = len(self._leased) + sum(session.used_at > since for session in self._idle)
        waiting = len(self._waiting) + self._slots.count_waiting_for_more()
        return SessionDemand(
            opened=leased + len(self._idle) + len(self._closing),
            wanted=min(self._limits.connections, needed + waiting),
        )

    def _follow_share(self) -> None:
        """Close idle sessions beyond the share of this process, and let messages look for sessions again."""
        if self._share is not None:
            self._session_limit.share(self._share.allowed)
        self._sweep()
        self._waiting.wake_all()

    def _learn(self, outcome: Outcome) -> None:
        """Note a failure of the server for the messages that wait for a session."""
        is_failure = is_server_stage(outcome.stage) and outcome.category is not ReplyCategory.CONNECTIONS
        if self._limits.shares_failures and is_failure:
            self._failed_at, self._failure = time.monotonic(), outcome
            self._waiting.wake_all()

    def _failure_since(self, asked_at: float) -> Outcome | None:
        """Return the failure that a message shares which waits since a time; None if there was none."""
        return self._failure if self._failed_at >= asked_at else None

    async def _attempt(
        self, session: SmtpSession, envelope: Envelope, fence: Callable[[], None]
    ) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the session was lost before the body was handed over."""
        try:
            if not session.transactions:
                await session.open()
                self._is_failing = False
                if not self._has_opened:
                    self._has_opened = True
                    if self._share is not None:
                        self._background.start(self._share.note_begun())
                self._session_limit.note_opened(sessions=self._open_sessions, now=time.monotonic())
                # Two may follow: it is not being opened any more, and it is one more that is open.
                self._waiting.wake_next()
                self._waiting.wake_next()
            outcome = await session.send(envelope, fence=fence)
        except SESSION_ERRORS as error:
            outcome = session.explain(error)
            self._is_failing = not session.transactions and outcome.category is not ReplyCategory.CONNECTIONS
            self._drop(session)
            is_lost = isinstance(error, ConnectionError) and not isinstance(error, TimeoutError)
            return outcome, is_lost and not session.body_handed_over
        except BaseException:
            self._drop(session)
            raise
        return outcome, outcome.stage == "mail" and outcome.reply.code == CLOSING_CODE

    def _release(self, session: SmtpSession | None, outcome: Outcome, slot: Slot) -> None:
        """Return the session to the pool, reset it or close it, whatever the outcome was."""
        is_leased = session in self._leased
        if session is not None and is_leased and session.can_be_reused(outcome):
            self._background.start(self._reset_and_return(session, slot))  # it keeps its slot meanwhile
            return
        if session is not None and is_leased and outcome.kind is OutcomeKind.ACCEPTED:
            self._return_to_idle(session)
        elif session is not None:
            self._drop(session)
        self._slots.release(slot, is_answered=outcome.reply.code is not None)

    async def _reset_and_return(self, session: SmtpSession, slot: Slot) -> None:
        try:
            is_clean = await session.reset()
            if is_clean:
                self._return_to_idle(session)
        finally:
            self._drop(session)
            self._slots.release(slot, is_answered=True)

    def _lease(self) -> tuple[SmtpSession, bool]:
        """Lease a session; return it, and whether it was used before."""
        if not self._idle:
            return self._lease_fresh(), False
        session = self._idle.pop()
        self._leased.add(session)
        return session, True

    def _lease_fresh(self) -> SmtpSession:
        if self._is_closed:
            raise RuntimeError("the pool is closed")
        session = SmtpSession(self._server, tls_context=lambda: self._tls_context)
        self._leased.add(session)
        return session

    def _return_to_idle(self, session: SmtpSession) -> None:
        """Make a session idle, or close it if it has expired."""
        self._leased.discard(session)
        session.used_at = time.monotonic()
        is_excess = self._open_sessions >= self._session_limit.allowed and self._session_limit.is_shared
        if self._is_closed or is_excess or self._idle.is_expired(session, now=session.used_at):
            self._quit_in_background([session])
            return
        self._idle.append(session)
        self._waiting.wake_next()
        if self._sweep_timer is None:
            self._schedule_sweep()

    def _drop(self, session: SmtpSession) -> None:
        """Close a session if it is still leased."""
        if session in self._leased:
            self._leased.discard(session)
            session.close()
            self._waiting.wake_next()

    def _discard_expired(self) -> None:
        """Close expired sessions until the one that would be leased next has not expired."""
        self._quit_in_background(self._idle.pop_expired_last(now=time.monotonic()))

    def _sweep(self) -> None:
        """Close the idle sessions that have expired, and those that other workers need."""
        limit = self._session_limit
        most = max(0, limit.allowed - len(self._leased)) if limit.is_shared else None
        self._quit_in_background(self._idle.pop_expired(now=time.monotonic(), most=most))

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        seconds = self._limits.max_idle_seconds / _SWEEPS
        self._sweep_timer = loop.call_later(seconds, self._on_sweep_timer)

    def _on_sweep_timer(self) -> None:
        self._sweep_timer = None
        self._sweep()
        if self._idle:
            self._schedule_sweep()

    def _quit_in_background(self, sessions: list[SmtpSession]) -> None:
        for session in sessions:
            self._closing.add(session)
            self._background.start(self._quit(session))

    async def _quit(self, session: SmtpSession) -> None:
        try:
            await session.quit()
        finally:
            self._closing.discard(session)
            self._waiting.wake_next()

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        """The context for all sessions; creating one takes longer than sending a message."""
        return make_tls_context(self._server)
