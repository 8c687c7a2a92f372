"""The limits of a pool of SMTP sessions, and the outcome of a message that gets none because of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.timefmt import format_age

#: The outcome of a message for which there was no session, if the server has not said why.
NO_SESSION = Outcome(
    kind=OutcomeKind.DEFERRED,
    reply=SmtpReply(text="the mail server allows no more sessions"),
    stage="connect",
    category=ReplyCategory.CONNECTIONS,
)
#: The outcome of a message that has waited in vain while other processes had the sessions.
NOT_ITS_TURN = replace(
    NO_SESSION,
    reply=SmtpReply(text="it waits for its turn: the mail server allows no more sessions"),
    retry_after_seconds=1.0,
)
#: Seconds until a message is tried again that waited for emails that do not end: half as long as that lasts.
_FIRST_STALLED_SECONDS, _MAX_STALLED_SECONDS = 5.0, 120.0


def stall(count: int, seconds: float, *, domain: str = "") -> Outcome:
    """Return the outcome of a message that no server was asked to take, so that others are not kept waiting.

    Args:
        count: how many emails are being sent.
        seconds: for how long none of them has ended.
        domain: to which these emails are; "" if they are all that the process sends.
    """
    to, lasting = f" to {domain}" if domain else "", format_age(seconds)
    if count == 1:
        what = f"the email{to} that is being sent has not ended for {lasting}"
    else:
        what = f"none of the {count} emails{to} that are being sent has ended for {lasting}"
    return Outcome(
        kind=OutcomeKind.DEFERRED,
        reply=SmtpReply(text=f"it waits for its turn: {what}"),
        category=ReplyCategory.CONNECTIONS,
        retry_after_seconds=min(_MAX_STALLED_SECONDS, max(_FIRST_STALLED_SECONDS, seconds / 2)),
    )


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """The limits of a pool: how many sessions, and for how long.

    `connections` times the number of worker processes must not exceed the limit of the mail server.
    """

    connections: int = 56
    messages_per_session: int = 100
    #: Shorter than the time after which servers close idle sessions (Postfix: 300 s, under stress 10 s).
    max_idle_seconds: float = 20.0
    max_age_seconds: float = 300.0
    #: Whether messages that wait for a session when one cannot be opened share that outcome: they can move
    #: to another server at once, instead of each trying this one.
    shares_failures: bool = False
