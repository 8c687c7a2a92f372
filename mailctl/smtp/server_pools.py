"""A pool of SMTP sessions for each named mail server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.send_limits import SendLimits
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.domain.send_rates import send_rates_from_settings
from mailctl.errors import ConfigurationError
from mailctl.smtp.capture import CaptureSender
from mailctl.smtp.paced_sender import PacedSender
from mailctl.smtp.pool import SmtpPool
from mailctl.smtp.pool_limits import PoolLimits
from mailctl.smtp.recipient_guard import GuardedSender
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Engine

    from mailctl.domain.models import Envelope
    from mailctl.domain.outcomes import Outcome
    from mailctl.domain.recipient_policy import RecipientPolicy
    from mailctl.settings import Settings
    from mailctl.smtp.mail_servers import MailServers
    from mailctl.smtp.sender import Sender


def make_sender(
    settings: Settings, servers: MailServers, engine: Engine, *, policy: RecipientPolicy
) -> Sender:
    """Return a new sender that keeps the limits of all workers and enforces the recipient policy.

    Args:
        settings: the settings; with EMAIL_ENABLED=False, messages are captured to files.
        servers: the mail servers.
        engine: of the delivery log, which has the limits.
        policy: which recipients are allowed.

    Raises:
        ConfigurationError: a rate is invalid.
    """
    if not settings.email_enabled:
        return GuardedSender(CaptureSender(settings.mailctl_home.absolute() / "mail"), policy)
    shares = {name: SessionShares(engine, name) for name in servers.by_name}
    is_only = len(shares) == 1
    pools = _single_pool(servers, shares) if is_only else ServerPools(servers, shares=shares)
    of_servers = {name: server.rate for name, server in servers.by_name.items()}
    rates = send_rates_from_settings(settings)
    return GuardedSender(PacedSender(pools, SendLimits(engine), rates=rates, servers=of_servers), policy)


def _single_pool(servers: MailServers, shares: Mapping[str, SessionShares]) -> SmtpPool:
    [(name, server)] = servers.by_name.items()
    limits = PoolLimits(connections=server.connections)
    return SmtpPool(servers.smtp_server(name), limits=limits, shares=shares[name])


class ServerPools:
    """Sends each message to the mail server that its envelope names.

    Args:
        servers: the mail servers; the pool of each is made for its first message.
        shares: the sessions of all workers to each server, by its name.
    """

    def __init__(self, servers: MailServers, *, shares: Mapping[str, SessionShares]) -> None:
        self._servers = servers
        self._shares = shares
        self._pools: dict[str, SmtpPool] = {}

    def capacity(self, server: str, /) -> int:
        """Return how many messages it sends at a time by a mail server, as far as is known of it."""
        if (pool := self._pools.get(server)) is not None:
            return pool.capacity(server)
        known = self._servers.by_name.get(server)
        return 1 if known is None else known.connections

    def count_stuck(self, server: str, /, *, is_campaign: bool) -> int:
        """Return how many of them a mail server has had for long without a reply."""
        pool = self._pools.get(server)
        return 0 if pool is None else pool.count_stuck(server, is_campaign=is_campaign)

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message; the outcome names the mail server.

        Raises:
            ConfigurationError: the settings do not have the server, or its sign-in cannot be used.
        """
        pool = self._pools.get(envelope.server) or self._make_pool(envelope.server)
        return replace(await pool.send(envelope, fence=fence), server=envelope.server)

    async def close(self) -> None:
        """Close the pools."""
        pools, self._pools = self._pools, {}
        await asyncio.gather(*(pool.close() for pool in pools.values()))

    def _make_pool(self, name: str) -> SmtpPool:
        if name not in self._servers.by_name:
            raise ConfigurationError(
                f"The mail server {name} is not in MAILCTL_SERVERS any more.", fix="Add it again."
            )
        limits = PoolLimits(
            connections=self._servers.by_name[name].connections,
            shares_failures=self._servers.routing.has_alternative(name),
        )
        pool = self._pools[name] = SmtpPool(
            self._servers.smtp_server(name), limits=limits, shares=self._shares[name]
        )
        return pool
