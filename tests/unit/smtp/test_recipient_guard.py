"""The recipient policy is enforced on the envelope of every message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.recipient_policy import UNRESTRICTED, RecipientPolicy
from mailctl.smtp.classify import classify_reply
from mailctl.smtp.recipient_guard import GuardedSender
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED)
DEAD = classify_reply(550, "5.1.1 no such user", stage="rcpt")
ALLOWED = RecipientPolicy(addresses=frozenset({"zoe@example.com"}))
REDIRECTED = RecipientPolicy(addresses=None, redirect_to="qa@example.com")


class RecordingSender:
    """Records the recipients that it is given."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.recipients: list[str] = []
        self.is_closed = False

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Record the recipient."""
        fence()
        self.recipients.append(envelope.recipient)
        return self.outcome

    async def close(self) -> None:
        """Record that the sender was closed."""
        self.is_closed = True


def send(
    policy: RecipientPolicy, recipient: str, outcome: Outcome = ACCEPTED
) -> tuple[OutcomeKind, Sequence[str]]:
    sender = RecordingSender(outcome)
    message = Envelope(sender="a@example.com", recipient=recipient, message_id="<x@y>", data=b"", subject="")
    found = asyncio.run(GuardedSender(sender, policy).send(message))
    return found.kind, sender.recipients


@pytest.mark.parametrize(
    ("policy", "recipient", "is_sent"),
    [
        (UNRESTRICTED, "zoe@example.com", True),
        (ALLOWED, "ZOE@example.com", True),
        (ALLOWED, "max@example.com", False),
        (REDIRECTED, "qa@example.com", True),
        (REDIRECTED, "zoe@example.com", False),
    ],
)
def test_only_allowed_recipients_reach_the_mail_server(
    policy: RecipientPolicy, recipient: str, is_sent: bool
) -> None:
    """Another outcome is `forbidden`."""
    kind, recipients = send(policy, recipient)
    assert (kind, recipients) == (
        (OutcomeKind.ACCEPTED, [recipient]) if is_sent else (OutcomeKind.FORBIDDEN, [])
    )


def test_a_bounce_of_the_redirect_address_is_a_configuration_error() -> None:
    """The intended recipient must be neither failed nor suppressed for it."""
    assert send(REDIRECTED, "qa@example.com", DEAD)[0] is OutcomeKind.CONFIG
    assert send(ALLOWED, "zoe@example.com", DEAD)[0] is OutcomeKind.REFUSED


def test_closing_the_guard_closes_its_sender() -> None:
    """The guard opens nothing itself."""
    sender = RecordingSender(ACCEPTED)
    asyncio.run(GuardedSender(sender, UNRESTRICTED).close())
    assert sender.is_closed
