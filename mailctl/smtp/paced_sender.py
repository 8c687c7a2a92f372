"""Keeps the rates that all workers of a delivery log share: a message waits for its permit before it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.routing import domain_of
from mailctl.domain.send_rates import domain_scope, server_scope
from mailctl.errors import LogUnavailable
from mailctl.smtp.known_replies import is_about_domain
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mailctl.delivery_log.send_limits import Reservation, SendLimits
    from mailctl.domain.models import Envelope
    from mailctl.domain.send_rates import SendRates
    from mailctl.smtp.sender import Sender

_log = logging.getLogger("mailctl.delivery")

#: Seconds ahead for which permits are taken, and for which a message waits in the worker until it gets one of
#: the mail server's; then it goes back to the log.
LONGEST_WAIT_SECONDS = 5.0
#: Seconds between two tries to take a permit of a mail server, and until a message without one is retried.
_AGAIN_SECONDS = 0.5
_SOON_SECONDS = 1.0
#: The stages of outcomes by which no message was offered.
_NOT_OFFERED = frozenset({"", "connect", "tls", "auth"})
#: Seconds of a rate for which permits are taken together.
_BLOCK_SECONDS = 0.5
#: Seconds after which it is looked up again whether another worker has learned a rate.
_REFRESH_SECONDS = 2.0
#: The same for the time at which the rate was learned, while there is a learned rate.
_VERIFY_SECONDS = 0.1
#: The most domains whose permits a process remembers; the log has those of all.
_MAX_DOMAINS = 1000
#: Domains that a mail server refuses because of their rate within so many seconds: then it means all email.
_MANY_DOMAINS = 3
_SAME_CAUSE_SECONDS = 60.0
#: Seconds over which it is measured what a server accepts of this process.
_MEASURED_SECONDS = 4.0


class _RateLearnedError(Exception):
    """While a message waited for a session, it was learned that it has to wait for a permit first."""


class PacedSender:
    """Sends messages at the rates of the settings, and at those that the mail servers have taught.

    Args:
        sender: sends the messages; it is closed with this one.
        limits: the rates in the delivery log.
        rates: the rates of the settings for domains.
        servers: the rates of the settings for mail servers by name, in messages a second; None for no limit.
        patience_seconds: how long a message waits until a permit of its mail server can be taken.
    """

    def __init__(
        self,
        sender: Sender,
        limits: SendLimits,
        *,
        rates: SendRates,
        servers: Mapping[str, float | None],
        patience_seconds: float = LONGEST_WAIT_SECONDS,
    ) -> None:
        self._sender = sender
        self._limits = limits
        self._rates = rates
        self._patience_seconds = patience_seconds
        self._servers = {
            name: _Lane(limits, server_scope(name), configured=rate) for name, rate in servers.items()
        }
        self._domains: dict[str, _Lane] = {}
        self._max_domains = _MAX_DOMAINS
        self._learned_domains: frozenset[str] = frozenset()
        self._looked_at = -math.inf
        self._looking = asyncio.Lock()
        #: When domains were last refused because of their rate, by mail server.
        self._refused: dict[str, dict[str, float]] = {}

    def capacity(self, server: str, /) -> int:
        """Return how many messages are sent at a time by a mail server: no more than its rate allows soon."""
        most, lane = self._sender.capacity(server), self._servers.get(server)
        return most if lane is None else lane.limit_capacity(most)

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message when it is its turn; deferred if that would take too long."""
        while True:
            with contextlib.suppress(_RateLearnedError):  # now it waits for a permit
                return await self._send_in_turn(envelope, fence)

    async def _send_in_turn(self, envelope: Envelope, fence: Callable[[], None]) -> Outcome:
        server, domain = self._servers.get(envelope.server), await self._domain_lane(envelope.recipient)
        taken: list[_Lane] = []
        is_used = False
        try:
            for lane in (domain, server):
                if lane is None:
                    continue
                # For a slow domain nobody waits here, because emails to others would wait behind it.
                patience = self._patience_seconds if lane is server else 0.0
                if problem := await lane.wait_for_permit(patience):
                    return _not_its_turn(
                        problem, server=envelope.server, after_seconds=_SOON_SECONDS if patience else None
                    )
                taken.append(lane)
            is_paced = server is not None and server.is_limited
            outcome = await self._sender.send(envelope, fence=_checking(server, fence, is_paced=is_paced))
            is_used = outcome.stage not in _NOT_OFFERED
        finally:
            if not is_used:  # the next message of this process has its permits
                for lane in taken:
                    lane.give_back()
        await self._learn(envelope, outcome, server=server, domain=domain, is_paced=is_paced)
        return outcome

    async def close(self) -> None:
        """Close the sender."""
        await self._sender.close()

    async def _learn(
        self,
        envelope: Envelope,
        outcome: Outcome,
        *,
        server: _Lane | None,
        domain: _Lane | None,
        is_paced: bool,
    ) -> None:
        """Note what an outcome says about the rate of the mail server, or of the recipient's domain."""
        if outcome.category is ReplyCategory.RATE and self._is_about_domain(envelope, outcome):
            lane = domain or self._lane_of(domain_of(envelope.recipient), None)
            await lane.learn(envelope, outcome, is_domain=True)
            return
        if domain is not None and outcome.kind is OutcomeKind.ACCEPTED:
            await domain.learn(envelope, outcome)
        if server is not None:
            await server.learn(envelope, outcome, is_paced=is_paced)

    def _is_about_domain(self, envelope: Envelope, outcome: Outcome) -> bool:
        """Whether a refusal is about the recipient's domain; what is said of several is about the server."""
        if not is_about_domain(outcome.reply, stage=outcome.stage):
            return False
        now = time.monotonic()
        refused = self._refused.setdefault(envelope.server, {})
        refused[domain_of(envelope.recipient)] = now
        for domain in [each for each, at in refused.items() if at < now - _SAME_CAUSE_SECONDS]:
            del refused[domain]
        return len(refused) < _MANY_DOMAINS

    async def _domain_lane(self, recipient: str) -> _Lane | None:
        if found := self._rates.for_recipient(recipient):
            return self._lane_of(*found)
        domain = domain_of(recipient)
        return self._lane_of(domain, None) if domain_scope(domain) in await self._learned() else None

    async def _learned(self) -> frozenset[str]:
        """Return the domains for which some worker has learned a rate."""
        if self._looking.locked() or _is_old(self._looked_at):
            async with self._looking:
                if _is_old(self._looked_at):
                    self._looked_at = time.monotonic()
                    with contextlib.suppress(LogUnavailable):  # which the limit of the mail server tells, too
                        self._learned_domains = await asyncio.to_thread(self._limits.learned_domains)
        return self._learned_domains

    def _lane_of(self, domain: str, rate: float | None) -> _Lane:
        lane = self._domains.pop(domain, None) or _Lane(self._limits, domain_scope(domain), configured=rate)
        self._domains[domain] = lane  # the one that was used last stands last
        while len(self._domains) > self._max_domains:
            del self._domains[next(iter(self._domains))]
        return lane


@dataclass(frozen=True)
class _Permit:
    """Permits one message to be sent at a time, by the event loop's clock."""

    at: float
    #: When the rate of the permit was learned; None for the rate of the settings.
    learned_at: datetime | None


class _Lane:
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

    async def learn(
        self, envelope: Envelope, outcome: Outcome, *, is_domain: bool = False, is_paced: bool = True
    ) -> None:
        """Note what an outcome says about the rate that is allowed.

        Args:
            envelope: the message.
            outcome: its outcome.
            is_domain: whether the rate is that of the recipient's domain, not of the mail server.
            is_paced: whether the message had a permit; a refusal of another one says nothing about the rate
                that others keep already.
        """
        now = time.monotonic()
        if outcome.kind is OutcomeKind.ACCEPTED:
            self._accepted.append(now)
            while self._accepted[0] < now - _MEASURED_SECONDS:
                self._accepted.popleft()
        elif outcome.category is ReplyCategory.RATE:
            domain = domain_of(envelope.recipient) if is_domain else None
            await self._lower(envelope.server, outcome, domain=domain, is_paced=is_paced)

    async def _lower(self, server: str, outcome: Outcome, *, domain: str | None, is_paced: bool) -> None:
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

    async def _has_limit(self) -> bool:
        if self._configured is None and (self._looking.locked() or _is_old(self._looked_at)):
            async with self._looking:  # messages that come together all wait for the answer
                if _is_old(self._looked_at):
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


def _is_old(looked_at: float) -> bool:
    return time.monotonic() - looked_at > _REFRESH_SECONDS


def _checking(server: _Lane | None, fence: Callable[[], None], *, is_paced: bool) -> Callable[[], None]:
    """Return a fence that the message does not pass at first if a rate was learned while it waited."""
    is_checked = is_paced or server is None

    def check() -> None:
        nonlocal is_checked
        if not is_checked and server is not None and server.is_limited:
            raise _RateLearnedError
        is_checked = True
        fence()

    return check


def _not_its_turn(problem: str, *, server: str, after_seconds: float | None) -> Outcome:
    return Outcome(
        kind=OutcomeKind.DEFERRED,
        reply=SmtpReply(text=f"it waits for its turn: {problem}"),
        category=ReplyCategory.RATE,
        server=server,
        retry_after_seconds=after_seconds,
    )
