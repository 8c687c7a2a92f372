"""The interface for sending a composed message, which a pool, a capture folder and a guard have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.models import Envelope
    from mailctl.domain.outcomes import Outcome


def no_fence() -> None:
    """Let every message pass: nobody else sends it."""


class Sender(Protocol):
    """Sends composed messages, each to one recipient."""

    def capacity(self, server: str, /) -> int:
        """Return how many messages it sends at a time by a mail server, whose name this is."""
        ...

    def count_stuck(self, server: str, /, *, is_campaign: bool) -> int:
        """Return how many of them, of campaigns or others, the server has had for long without a reply."""
        ...

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message; a failure is an outcome, not an exception.

        Args:
            envelope: the message.
            fence: called immediately before each step of the hand-over, the last time before the body. What
                it raises ends the attempt, and the mail server does not get the message.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
