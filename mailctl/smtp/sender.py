"""The interface for sending a composed message, which a pool, a capture folder and a guard have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope, Outcome


class Sender(Protocol):
    """Sends composed messages, each to one recipient."""

    async def send(self, envelope: Envelope) -> Outcome:
        """Send a message; a failure is an outcome, not an exception."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
