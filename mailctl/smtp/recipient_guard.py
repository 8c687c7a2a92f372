"""The last look before a message leaves: may this environment mail its recipient?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.domain.models import Outcome, OutcomeKind, SmtpReply

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope
    from mailctl.domain.recipient_policy import RecipientPolicy
    from mailctl.smtp.sender import Sender


class GuardedSender:
    """Sends what the audience allows; it looks at the envelope, which alone decides who gets a message.

    Args:
        sender: what sends; closing the guard closes it.
        audience: whom this environment may mail.
    """

    def __init__(self, sender: Sender, audience: RecipientPolicy) -> None:
        self._sender = sender
        self._policy = audience

    async def send(self, envelope: Envelope) -> Outcome:
        """Send one message; what is not allowed is `forbidden`, and nobody hears of it."""
        if reason := self._policy.refusal_reason(envelope.recipient):
            return Outcome(kind=OutcomeKind.FORBIDDEN, reply=SmtpReply(text=reason))
        outcome = await self._sender.send(envelope)
        if self._policy.redirect_to is not None and outcome.kind is OutcomeKind.BOUNCED:
            # Refused is our own address: nobody whom an email was meant for is to blame.
            return replace(outcome, kind=OutcomeKind.CONFIG)
        return outcome

    async def close(self) -> None:
        """Close the sender."""
        await self._sender.close()
