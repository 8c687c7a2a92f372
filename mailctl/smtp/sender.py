"""The interface for sending a composed message: one method, one outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope, Outcome
    from mailctl.smtp.pool import SmtpPool


class Sender(Protocol):
    """Sends composed messages, each to one recipient."""

    async def send(self, envelope: Envelope) -> Outcome:
        """Send a message; a failure is an outcome, not an exception."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class SmtpSender:
    """Sends messages over the sessions of a pool.

    Args:
        pool: the pool of sessions, which is closed with the sender.
    """

    def __init__(self, pool: SmtpPool) -> None:
        self._pool = pool

    async def send(self, envelope: Envelope) -> Outcome:
        """Send a message to its recipient."""
        return await self._pool.send(envelope)

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()
