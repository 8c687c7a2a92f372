"""Keeps the rates that all workers of a delivery log share: a message waits for its permit before it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.routing import domain_of
from mailctl.domain.send_rates import domain_scope, server_scope
from mailctl.errors import LogUnavailable
from mailctl.smtp.known_replies import is_about_domain
from mailctl.smtp.rate_lane import LONGEST_WAIT_SECONDS, RateLane, is_old
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailctl.delivery_log.send_limits import SendLimits
    from mailctl.domain.models import Envelope
    from mailctl.domain.send_rates import SendRates
    from mailctl.smtp.sender import Sender

_log = logging.getLogger("mailctl.delivery")

#: Seconds until a message without a permit is tried again.
_SOON_SECONDS = 1.0
#: The stages of outcomes by which no message was offered.
_NOT_OFFERED = frozenset({"", "connect", "tls", "auth"})
#: The most domains whose permits a process remembers; the log has those of all.
_MAX_DOMAINS = 1000
#: Domains that a mail server refuses because of their rate within so many seconds: then it means all email.
_MANY_DOMAINS = 3
_SAME_CAUSE_SECONDS = 60.0


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
            name: RateLane(limits, server_scope(name), configured=rate) for name, rate in servers.items()
        }
        self._domains: dict[str, RateLane] = {}
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

    def count_stuck(self, server: str, /, *, is_campaign: bool) -> int:
        """Return how many of them a mail server has had for long without a reply."""
        return self._sender.count_stuck(server, is_campaign=is_campaign)

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message when it is its turn; deferred if that would take too long."""
        while True:
            try:
                return await self._send_in_turn(envelope, fence)
            except _RateLearnedError:
                continue  # now it waits for a permit

    async def _send_in_turn(self, envelope: Envelope, fence: Callable[[], None]) -> Outcome:
        server, domain = self._servers.get(envelope.server), await self._domain_lane(envelope.recipient)
        taken: list[RateLane] = []
        is_used = False
        try:
            for lane in (domain, server):
                if lane is None or lane.is_unlimited:
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
        if outcome.kind is OutcomeKind.ACCEPTED:
            for lane in (domain, server):
                if lane is not None:
                    lane.note_accepted()
        elif outcome.category is ReplyCategory.RATE:
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
        server: RateLane | None,
        domain: RateLane | None,
        is_paced: bool,
    ) -> None:
        """Lower the rate of the mail server, or of the recipient's domain, as a refusal says."""
        if self._is_about_domain(envelope, outcome):
            name = domain_of(envelope.recipient)
            lane = domain or self._lane_of(name, None)
            await lane.lower(envelope.server, outcome, domain=name, is_paced=True)
        elif server is not None:
            await server.lower(envelope.server, outcome, domain=None, is_paced=is_paced)

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

    async def _domain_lane(self, recipient: str) -> RateLane | None:
        if self._rates.per_domain and (found := self._rates.for_recipient(recipient)):
            return self._lane_of(*found)
        learned = await self._learned() if self._must_look else self._learned_domains
        if not learned:
            return None
        domain = domain_of(recipient)
        return self._lane_of(domain, None) if domain_scope(domain) in learned else None

    @property
    def _must_look(self) -> bool:
        return self._looking.locked() or is_old(self._looked_at)

    async def _learned(self) -> frozenset[str]:
        """Return the domains for which some worker has learned a rate."""
        async with self._looking:  # messages that come together all wait for the answer
            if is_old(self._looked_at):
                self._looked_at = time.monotonic()
                with contextlib.suppress(LogUnavailable):  # which the limit of the mail server tells, too
                    self._learned_domains = await asyncio.to_thread(self._limits.learned_domains)
        return self._learned_domains

    def _lane_of(self, domain: str, rate: float | None) -> RateLane:
        lane = self._domains.pop(domain, None) or RateLane(
            self._limits, domain_scope(domain), configured=rate
        )
        self._domains[domain] = lane  # the one that was used last stands last
        while len(self._domains) > self._max_domains:
            del self._domains[next(iter(self._domains))]
        return lane


def _checking(server: RateLane | None, fence: Callable[[], None], *, is_paced: bool) -> Callable[[], None]:
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
