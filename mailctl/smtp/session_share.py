"""The sessions that a process may have, of those that a mail server allows all workers of a log together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import uuid
from typing import TYPE_CHECKING

from mailctl.domain.session_shares import SessionDemand
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.delivery_log.session_shares import SessionShares

_log = logging.getLogger("mailctl.delivery")

#: Seconds between two reports while there is a limit, and between two looks whether there is one.
REPORT_SECONDS = 1.0
#: Seconds between two looks whether a report must not wait: a session that one process does not use any more,
#: and another one needs, must not be idle for long.
_TICK_SECONDS = 0.1
#: The same before a session is opened, which the server may have just refused to another process.
_OPENING_SECONDS = 0.05


class SessionShare:
    """Keeps the share of one pool up to date; only one event loop uses it.

    Args:
        shares: the sessions to the mail server in the delivery log.
        demand: returns the sessions of the pool; without any, the reports end.
        on_change: called when the share may have changed.
    """

    def __init__(
        self, shares: SessionShares, *, demand: Callable[[], SessionDemand], on_change: Callable[[], None]
    ) -> None:
        self._shares = shares
        self._demand = demand
        self._on_change = on_change
        self._holder = uuid.uuid4().hex
        self._looking = asyncio.Lock()
        self._looked_at = -math.inf
        self._reports: asyncio.Task[None] | None = None
        self._has_begun = False
        self._begins_at = -math.inf
        self._reported_at = -math.inf
        self._reported = SessionDemand(opened=0, wanted=0)
        #: How many sessions the pool may have; None for no limit.
        self.allowed: int | None = None

    async def look(self, *, is_opening: bool = False) -> None:
        """Look whether a worker has learned a limit, if that was not done recently; then the share is known.

        Args:
            is_opening: whether a session is about to be opened, for which the answer must be a new one.
        """
        seconds = _OPENING_SECONDS if is_opening else REPORT_SECONDS
        if self._is_known(seconds) and not self._looking.locked():
            return
        async with self._looking:  # messages that come together all wait for the answer
            if self._is_known(seconds):
                return
            self._looked_at = time.monotonic()
            try:
                is_limited = await asyncio.to_thread(self._shares.is_limited)
            except LogUnavailable as error:
                _log.warning("cannot look up how many sessions the mail server allows: %s", error)
                return
            if is_limited:
                await self._report()
                self._start_reports()
            elif self.allowed is not None:
                self._set(None)

    def _is_known(self, seconds: float) -> bool:
        """Whether the share is reported all the time, or it was looked up in so many last seconds."""
        is_recent = self.allowed is None and self._looked_at > time.monotonic() - seconds
        return is_recent or self._reports is not None

    async def may_begin(self) -> bool:
        """Whether the pool may open its first session; few pools do at a time while no limit is known."""
        async with self._looking:
            if self._has_begun or self.allowed is not None:
                return True
            if time.monotonic() < self._begins_at:
                return False
            self._begins_at = time.monotonic() + _OPENING_SECONDS
            try:
                self._has_begun = await asyncio.to_thread(self._shares.begin, self._holder)
            except LogUnavailable as error:
                _log.warning("cannot open the first sessions one after the other: %s", error)
                self._has_begun = True
            return self._has_begun

    async def note_begun(self) -> None:
        """Let other pools open their first sessions: the mail server has accepted that of this one."""
        if self.allowed is None:
            with contextlib.suppress(LogUnavailable):  # they do not wait for long
                await asyncio.to_thread(self._shares.note_begun, self._holder)

    async def note_refusal(self, reason: str) -> None:
        """Tell all workers that the server has refused a session."""
        demand = self._demand()
        try:
            share = await asyncio.to_thread(
                lambda: self._shares.note_refusal(self._holder, demand, reason=reason)
            )
        except LogUnavailable as error:
            _log.warning("other workers do not learn that the mail server refuses a session: %s", error)
            return
        self._set(share)
        self._start_reports()

    async def close(self) -> None:
        """End the reports, once the sessions of the pool are closed."""
        if self._reports is None:
            return
        self._reports.cancel()
        await asyncio.wait([self._reports])
        try:
            await asyncio.to_thread(self._shares.leave, self._holder)
        except LogUnavailable as error:
            _log.info("other workers learn later that sessions are free: %s", error)

    def _start_reports(self) -> None:
        if self._reports is None:
            self._reports = asyncio.get_running_loop().create_task(self._keep_reporting())

    async def _keep_reporting(self) -> None:
        try:
            while True:
                await asyncio.sleep(_TICK_SECONDS)
                if not await self._is_report_due():
                    continue
                demand = await self._report()
                if self.allowed is None or not (demand.opened or demand.wanted):
                    return  # the share of a pool that needs no sessions is none
        finally:
            self._reports = None

    async def _is_report_due(self) -> bool:
        """Whether a second is over, sessions have become free for others, or one is free for this pool."""
        if time.monotonic() - self._reported_at >= REPORT_SECONDS:
            return True
        demand, share = self._demand(), self.allowed or 0
        if demand.opened < self._reported.opened or demand.wanted < min(share, self._reported.wanted):
            return True
        return demand.wanted > 0 and not share and await self._may_begin()

    async def _may_begin(self) -> bool:
        """Whether a session is free for this pool, which has none; the log is only read for that."""
        try:
            return await asyncio.to_thread(self._shares.has_free, self._holder)
        except LogUnavailable:
            return False  # the next report tells

    async def _report(self) -> SessionDemand:
        """Report the sessions of the pool, and take its share."""
        demand = self._demand()
        self._reported, self._reported_at = demand, time.monotonic()
        try:
            self._set(await asyncio.to_thread(self._shares.exchange, self._holder, demand))
        except LogUnavailable as error:
            _log.warning("cannot share the sessions of the mail server with other workers: %s", error)
        return demand

    def _set(self, allowed: int | None) -> None:
        self.allowed = allowed
        self._on_change()
