"""Enforces the recipient policy immediately before a message is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.models import Envelope
    from mailctl.domain.recipient_policy import RecipientPolicy
    from mailctl.smtp.sender import Sender


class GuardedSender:
    """Sends messages to recipients that the policy allows; it checks the recipient of the envelope.

    Args:
        sender: sends the messages; it is closed with the guard.
        policy: the recipient policy of this environment.
    """

    def __init__(self, sender: Sender, policy: RecipientPolicy) -> None:
        self._sender = sender
        self._policy = policy

    def capacity(self, server: str, /) -> int:
        """Return how many messages the sender sends at a time by a mail server."""
        return self._sender.capacity(server)

    def count_stuck(self, server: str, /, *, is_campaign: bool) -> int:
        """Return how many of them a mail server has had for long without a reply."""
        return self._sender.count_stuck(server, is_campaign=is_campaign)

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Send a message; the outcome is `forbidden` if the policy does not allow its recipient."""
        if reason := self._policy.refusal_reason(envelope.recipient):
            return Outcome(kind=OutcomeKind.FORBIDDEN, reply=SmtpReply(text=reason))
        outcome = await self._sender.send(envelope, fence=fence)
        if self._policy.redirect_to is not None and outcome.kind is OutcomeKind.REFUSED:
            # The refused address is the one of the setting: the intended recipient must not be suppressed.
            return replace(outcome, kind=OutcomeKind.CONFIG)
        return outcome

    async def close(self) -> None:
        """Close the sender."""
        await self._sender.close()
