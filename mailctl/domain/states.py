"""The states of an email, and every allowed change from one to another."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """The state of an email."""

    PENDING = "pending"  #: in the delivery log, not on the broker
    QUEUED = "queued"  #: published to the broker
    SENDING = "sending"  #: claimed by a worker
    SENT = "sent"  #: accepted by the mail server
    CAPTURED = "captured"  #: written to a file, because EMAIL_ENABLED=False
    #: the service's own task has finished, and does not say whether a mail server accepted it
    UNCONFIRMED = "unconfirmed"
    DEFERRED = "deferred"  #: the mail server said "later"; waits for the next attempt
    FAILED = "failed"  #: refused permanently, or out of attempts
    HELD = "held"  #: kept back until an operator releases it
    CANCELLED = "cancelled"  #: cancelled by an operator before it was sent
    EXPIRED = "expired"  #: its links or its lifetime expired before it could be sent
    SUPPRESSED = "suppressed"  #: not sent, because a rule forbids it
    DELIVERED = "delivered"  #: the recipient's mail server has it, as feedback says
    BOUNCED = "bounced"  #: accepted by the mail server, and given up later, as feedback says
    COMPLAINED = "complained"  #: delivered, and marked as spam by its recipient


#: States that an email leaves only if an operator acts on it.
FINAL_STATES = frozenset(
    {
        State.SENT,
        State.CAPTURED,
        State.UNCONFIRMED,
        State.FAILED,
        State.CANCELLED,
        State.EXPIRED,
        State.SUPPRESSED,
        State.DELIVERED,
        State.BOUNCED,
        State.COMPLAINED,
    }
)
#: States that only feedback leads to, in ascending precedence: none is replaced by one before it.
FEEDBACK_STATES = (State.DELIVERED, State.BOUNCED, State.COMPLAINED)
#: States of emails that a mail server accepted, whatever became of them later.
ACCEPTED_STATES = frozenset({State.SENT, *FEEDBACK_STATES})
#: States in which an email may still be sent.
UNFINISHED_STATES = frozenset(State) - FINAL_STATES
#: States of emails that a mail server accepted, or that were written to a file instead, and that did not
#: come back.
SENT_OR_CAPTURED = (ACCEPTED_STATES | {State.CAPTURED}) - {State.BOUNCED}
#: States in which a worker that receives the message may claim the email.
CLAIMABLE_STATES = frozenset({State.PENDING, State.QUEUED, State.DEFERRED})

_STOPPED = frozenset({State.HELD, State.CANCELLED, State.EXPIRED, State.SUPPRESSED, State.FAILED})
_BY_FEEDBACK = frozenset(FEEDBACK_STATES)

#: Every allowed change of state, by the state before.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.QUEUED, State.SENDING}) | _STOPPED,
    State.QUEUED: frozenset({State.PENDING, State.SENDING}) | _STOPPED,
    State.SENDING: frozenset({State.SENT, State.CAPTURED, State.UNCONFIRMED, State.DEFERRED, State.PENDING})
    | _STOPPED,
    State.DEFERRED: frozenset({State.PENDING, State.QUEUED, State.SENDING}) | _STOPPED,
    # Feedback proves that an attempt without a reply was accepted.
    State.HELD: frozenset({State.PENDING, State.CANCELLED, State.EXPIRED}) | _BY_FEEDBACK,
    State.FAILED: frozenset({State.PENDING}) | _BY_FEEDBACK,
    State.CANCELLED: frozenset({State.PENDING}),
    State.EXPIRED: frozenset({State.PENDING}),
    State.SUPPRESSED: frozenset({State.PENDING}),
    State.UNCONFIRMED: frozenset({State.PENDING}) | _BY_FEEDBACK,
    State.SENT: _BY_FEEDBACK,
    State.DELIVERED: frozenset({State.BOUNCED, State.COMPLAINED}),
    State.BOUNCED: frozenset({State.COMPLAINED}),
    State.COMPLAINED: frozenset(),
    State.CAPTURED: frozenset(),
}


def states_before(target: State) -> frozenset[State]:
    """Return the states from which an email may change to `target`."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)
