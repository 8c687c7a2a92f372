"""A pool of SMTP sessions for one event loop.

Functions without `async` change the state of the pool and return what must be closed; the others do the I/O.
A session is leased from the moment of its assignment, and is reused only after a definite reply.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mailctl.domain.models import Envelope, Outcome, OutcomeKind
from mailctl.smtp.classify import CLOSING_CODE
from mailctl.smtp.probe import probe_session
from mailctl.smtp.sender import no_fence
from mailctl.smtp.server import make_tls_context
from mailctl.smtp.session import SESSION_ERRORS, SmtpSession

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from mailctl.smtp.probe import ProbeStep
    from mailctl.smtp.server import SmtpServer

#: Seconds to wait for pending QUIT commands when the pool is closed.
_CLOSE_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """The limits of a pool: how many sessions, and for how long.

    `connections` times the number of worker processes must not exceed the limit of the mail server.
    """

    connections: int = 4
    messages_per_session: int = 100
    #: Shorter than the time after which servers close idle sessions (Postfix: 300 s, under stress 10 s).
    max_idle_seconds: float = 20.0
    max_age_seconds: float = 300.0


class SmtpPool:
    """A pool of SMTP sessions for one event loop; the first message opens the first session.

    Args:
        server: the mail server.
        limits: the limits of the pool; None for the defaults.
    """

    def __init__(self, server: SmtpServer, *, limits: PoolLimits | None = None) -> None:
        self._server = server
        self._limits = limits or PoolLimits()
        self._slots = asyncio.Semaphore(self._limits.connections)
        #: The most recently used session is last and is leased first, so that the others can expire.
        self._idle: list[SmtpSession] = []
        self._leased: set[SmtpSession] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

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
        await self._slots.acquire()
        try:
            session, outcome = await self._deliver(envelope, fence)
        except BaseException:
            self._slots.release()
            raise
        self._release(session, outcome)
        return outcome

    async def probe(self) -> list[ProbeStep]:
        """Open a new session step by step without sending a message.

        Returns:
            The steps taken: connect, tls, auth; only the last one can have failed.
        """
        session = SmtpSession(self._server, tls_context=lambda: self._tls_context)
        try:
            return await probe_session(session, self._server)
        finally:
            self._run_in_background(session.quit())

    async def close(self) -> None:
        """Close idle sessions with QUIT; leased sessions are closed when their message is done."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        sessions, self._idle = self._idle, []
        self._quit_in_background(sessions)
        await asyncio.shield(self._wait_for_quits())

    async def _deliver(self, envelope: Envelope, fence: Callable[[], None]) -> tuple[SmtpSession, Outcome]:
        session, is_reused = self._lease()
        outcome, is_lost = await self._attempt(session, envelope, fence)
        if is_reused and is_lost:
            # The server closed the session while it was idle. It got no body, so a new session tries again.
            self._drop(session)
            session = self._lease_fresh()
            outcome, _ = await self._attempt(session, envelope, fence)
        return session, outcome

    async def _attempt(
        self, session: SmtpSession, envelope: Envelope, fence: Callable[[], None]
    ) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the session was lost before the body was handed over."""
        try:
            if not session.transactions:
                await session.open()
            outcome = await session.send(envelope, fence=fence)
        except SESSION_ERRORS as error:
            self._drop(session)
            is_lost = isinstance(error, ConnectionError) and not isinstance(error, TimeoutError)
            return session.explain(error), is_lost and not session.body_handed_over
        except BaseException:
            self._drop(session)
            raise
        return outcome, outcome.stage == "mail" and outcome.reply.code == CLOSING_CODE

    def _release(self, session: SmtpSession, outcome: Outcome) -> None:
        """Return the session to the pool, reset it or close it, whatever the outcome was."""
        if session in self._leased and session.can_be_reused(outcome):
            self._run_in_background(self._reset_and_return(session))  # it keeps its slot meanwhile
            return
        if session in self._leased and outcome.kind is OutcomeKind.ACCEPTED:
            self._return_to_idle(session)
        else:
            self._drop(session)
        self._slots.release()

    async def _reset_and_return(self, session: SmtpSession) -> None:
        try:
            is_clean = await session.reset()
            if is_clean:
                self._return_to_idle(session)
        finally:
            self._drop(session)
            self._slots.release()

    def _lease(self) -> tuple[SmtpSession, bool]:
        """Lease a session; return it, and whether it was used before."""
        self._sweep()
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
        if self._is_closed or self._is_expired(session, now=session.used_at):
            self._quit_in_background([session])
            return
        self._idle.append(session)
        if self._sweep_timer is None:
            self._schedule_sweep()

    def _drop(self, session: SmtpSession) -> None:
        """Close a session if it is still leased."""
        if session in self._leased:
            self._leased.discard(session)
            session.close()

    def _pop_expired(self, now: float) -> list[SmtpSession]:
        """Remove and return the idle sessions that have expired."""
        expired = [session for session in self._idle if self._is_expired(session, now=now)]
        self._idle = [session for session in self._idle if session not in expired]
        return expired

    def _is_expired(self, session: SmtpSession, *, now: float) -> bool:
        limits = self._limits
        return (
            not session.is_connected
            or session.transactions >= limits.messages_per_session
            or now - session.used_at > limits.max_idle_seconds
            or now - session.opened_at > limits.max_age_seconds
        )

    def _sweep(self) -> None:
        self._quit_in_background(self._pop_expired(time.monotonic()))

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._limits.max_idle_seconds, self._on_sweep_timer)

    def _on_sweep_timer(self) -> None:
        self._sweep_timer = None
        self._sweep()
        if self._idle:
            self._schedule_sweep()

    def _quit_in_background(self, sessions: list[SmtpSession]) -> None:
        for session in sessions:
            self._run_in_background(session.quit())

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _wait_for_quits(self) -> None:
        if self._background:
            _, late = await asyncio.wait(set(self._background), timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)  # lets the loop close the transports that were aborted

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        """The context for all sessions; creating one takes longer than sending a message."""
        return make_tls_context(self._server)
