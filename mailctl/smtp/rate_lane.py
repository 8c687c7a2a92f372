"""The messages of one process that share the rate of a mail server or a domain, and their permits."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.send_limits import Reservation, SendLimits
    from mailctl.domain.outcomes import Outcome

_log = logging.getLogger("mailctl.delivery")

#: Seconds ahead for which permits are taken, and for which a message waits in the worker until it gets one of
#: the mail server's; then it goes back to the log.
LONGEST_WAIT_SECONDS = 5.0
#: Seconds between two tries to take a permit of a mail server.
_AGAIN_SECONDS = 0.5
#: Seconds of a rate for which permits are taken together.
_BLOCK_SECONDS = 0.5
#: Seconds after which it is looked up again whether another worker has learned a rate.
_REFRESH_SECONDS = 2.0
#: The same for the time at which the rate was learned, while there is a learned rate.
_VERIFY_SECONDS = 0.1
#: Seconds over which it is measured what a server accepts of this process.
_MEASURED_SECONDS = 4.0


@dataclass(frozen=True)
class _Permit:
    """Permits one message to be sent at a time, by the event loop's clock."""

    at: float
    #: When the rate of the permit was learned; None for the rate of the settings.
    learned_at: datetime | None


class RateLane:
    """The messages of this process that share one limit."""

    def __init__(self, limits: SendLimits, scope: str, *, configured: float | None) -> None:
        self.scope = scope
        self._limits = limits
        self._configured = configured
        self._lock = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._waiting = 0
        #: Permits that were taken and not used yet.
        self._permits: deque[_Permit] = deque()
        #: When the rate was learned, as far as this process knows, and when it was last looked up.
        self._learned_at: datetime | None = None
        self._verified_at = -math.inf
        self.is_limited = configured is not None
        #: Messages a second as they were known last; None for no limit.
        self._per_second = configured
        self._looked_at = -math.inf
        self._accepted: deque[float] = deque()

    async def wait_for_permit(self, patience: float) -> str:
        """Wait for the next permit; return "", or why the message does not get one in time.

        Args:
            patience: for how many seconds to try, while the permits of the next seconds are all taken.
        """
        until = time.monotonic() + patience if patience else None
        try:
            while await self._has_limit():
                permit = await self._next_permit(until)
                if permit is None:
                    return f"the rate of {self.scope} is used up"
                await asyncio.sleep(max(0.0, permit.at - time.monotonic()))
                # If this process was held up, others would follow too closely.
                if time.monotonic() <= permit.at + _BLOCK_SECONDS and await self._is_valid(permit):
                    return ""
        except LogUnavailable as error:
            _log.warning("cannot reserve a send within the rate of %s: %s", self.scope, error)
            return f"the delivery log could not be asked for the rate of {self.scope}"
        return ""

    def limit_capacity(self, most: int) -> int:
        """Return how many messages to send at a time: those of a second, so that few wait for permits."""
        if not self.is_limited or self._per_second is None:
            return most
        return min(most, max(1, math.ceil(self._per_second)))

    def give_back(self) -> None:
        """Return the permit of a message that the mail server was not offered."""
        if self.is_limited:
            self._permits.appendleft(_Permit(time.monotonic(), self._learned_at))

    def note_accepted(self) -> None:
        """Count a message that was accepted, to know the rate at which that succeeds."""
        now = time.monotonic()
        self._accepted.append(now)
        while self._accepted[0] < now - _MEASURED_SECONDS:
            self._accepted.popleft()

    async def lower(self, server: str, outcome: Outcome, *, domain: str | None, is_paced: bool) -> None:
        """Lower the rate after a message was refused because of it.

        Args:
            server: the name of the mail server that refused it.
            outcome: the refusal.
            domain: the recipient's domain, if the rate is that of the domain and not of the mail server.
            is_paced: whether the message had a permit; a refusal of another one says nothing about the rate
                that others keep already.
        """
        reason, now = outcome.text_with_stage, time.monotonic()
        self.is_limited, self._permits, self._verified_at = True, deque(), -math.inf
        learn = partial(
            self._limits.learn,
            self.scope,
            server=server,
            accepted_ages=[now - at for at in reversed(self._accepted)],
            reason=reason,
            domain=domain,
            is_paced=is_paced,
        )
        try:
            rate = await asyncio.to_thread(learn)
        except LogUnavailable as error:
            _log.warning("the rate of %s is not lowered for other workers: %s", self.scope, error)
            return
        if rate is not None:
            _log.warning("%s: all workers send %.3g emails a second now: %s", self.scope, rate, reason)

    @property
    def is_unlimited(self) -> bool:
        """Whether it is known that messages need no permits now."""
        return not (self.is_limited or self._must_look)

    @property
    def _must_look(self) -> bool:
        return self._configured is None and (self._looking.locked() or is_old(self._looked_at))

    async def _has_limit(self) -> bool:
        if self._must_look:
            async with self._looking:  # messages that come together all wait for the answer
                if is_old(self._looked_at):
                    self._looked_at = time.monotonic()
                    self.is_limited = await asyncio.to_thread(self._limits.is_learned, self.scope)
        return self.is_limited

    async def _is_valid(self, permit: _Permit) -> bool:
        """Whether no worker has learned another rate since a permit was taken."""
        if time.monotonic() > self._verified_at + _VERIFY_SECONDS:
            self._verified_at = time.monotonic()
            self._update_learned_at(await asyncio.to_thread(self._limits.learned_at, self.scope))
        return permit.learned_at == self._learned_at

    def _update_learned_at(self, learned_at: datetime | None) -> None:
        if learned_at != self._learned_at:
            self._learned_at, self._permits = learned_at, deque()

    async def _next_permit(self, until: float | None) -> _Permit | None:
        """Return the next permit of this process; None if it gets none until a time."""
        self._waiting += 1
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                await self._lock.acquire()  # the first one tries for all
        except TimeoutError:
            return None
        else:
            try:
                return await self._try_for_permit(until)
            finally:
                self._lock.release()
        finally:
            self._waiting -= 1

    async def _try_for_permit(self, until: float | None) -> _Permit | None:
        while True:
            while self._permits and self._permits[0].at < time.monotonic() - _BLOCK_SECONDS:
                self._permits.popleft()  # unused time is not saved
            if self._permits or await self._take_permits():
                return self._permits.popleft()
            if until is None or time.monotonic() >= until:
                return None
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _take_permits(self) -> bool:
        count = 1
        while True:
            found = await asyncio.to_thread(self._reserve, count)
            if not found.is_taken:
                return bool(self._permits)
            begin, rate = time.monotonic() + found.wait_seconds, found.per_second
            self._per_second = rate
            self._update_learned_at(found.learned_at)
            times = [begin] if rate is None else [begin + number / rate for number in range(count)]
            self._permits.extend(_Permit(at, found.learned_at) for at in times)
            if rate is None:
                return True
            # The first permit tells the rate; more are taken together for those that wait already.
            more = min(self._waiting - len(self._permits), math.ceil(rate * _BLOCK_SECONDS))
            if len(self._permits) > 1 or more < 1:
                return True
            count = more

    def _reserve(self, count: int) -> Reservation:
        return self._limits.reserve(
            self.scope, configured=self._configured, count=count, longest_wait=LONGEST_WAIT_SECONDS
        )


def is_old(looked_at: float) -> bool:
    return time.monotonic() - looked_at > _REFRESH_SECONDS
