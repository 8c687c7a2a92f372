"""The sessions that a process may have, of those that a mail server allows all workers of a log together."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from typing import TYPE_CHECKING

from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.delivery_log.session_shares import SessionShares
    from mailctl.domain.session_shares import SessionDemand

_log = logging.getLogger("mailctl.delivery")

#: Seconds between two reports while there is a limit, and between two looks whether there is one.
REPORT_SECONDS = 1.0
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
        #: How many sessions the pool may have; None for no limit.
        self.allowed: int | None = None

    async def look(self, *, is_opening: bool = False) -> None:
        """Look whether a worker has learned a limit, if that was not done lately; then the share is known.

        Args:
            is_opening: whether a session is about to be opened, for which the answer must be a new one.
        """
        async with self._looking:
            lately = time.monotonic() - (_OPENING_SECONDS if is_opening else REPORT_SECONDS)
            if self._reports is not None or (self.allowed is None and self._looked_at > lately):
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
                await asyncio.sleep(REPORT_SECONDS)
                demand = await self._report()
                if self.allowed is None or not (demand.opened or demand.wanted):
                    return  # the share of a pool that needs no sessions is none
        finally:
            self._reports = None

    async def _report(self) -> SessionDemand:
        """Report the sessions of the pool, and take its share."""
        demand = self._demand()
        try:
            self._set(await asyncio.to_thread(self._shares.exchange, self._holder, demand))
        except LogUnavailable as error:
            _log.warning("cannot share the sessions of the mail server with other workers: %s", error)
        return demand

    def _set(self, allowed: int | None) -> None:
        self.allowed = allowed
        self._on_change()
