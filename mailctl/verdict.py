"""What an operator may do to an email: pure decisions, from what the log knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.anew import send_anew
from mailctl.message import DELIVERED_STATES, Email, State
from mailctl.retry import is_too_late

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mailctl.message import SmtpReply


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that an operator does to emails."""

    name: str
    #: What an email is afterwards, for people.
    done: str
    #: The states in which it can be done.
    works_on: tuple[State, ...]
    #: Those of them that are meant where filters name no state.
    by_default: tuple[State, ...]

    @property
    def is_stop(self) -> bool:
        """Whether it keeps emails from going out, until they are released."""
        return self in (CANCEL, PURGE, HOLD)


_UNSENT = (State.PENDING, State.QUEUED, State.DEFERRED)
_UNDELIVERED = (State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED)

RETRY = Action(
    name="retry",
    done="retried",
    works_on=(*_UNDELIVERED, State.DEFERRED),
    # What was cancelled or suppressed was meant to be.
    by_default=(State.FAILED, State.EXPIRED, State.DEFERRED),
)
CANCEL = Action(
    name="cancel", done="cancelled", works_on=(*_UNSENT, State.HELD), by_default=(*_UNSENT, State.HELD)
)
PURGE = Action(name="purge", done="purged", works_on=_UNSENT, by_default=_UNSENT)
HOLD = Action(name="hold", done="held", works_on=_UNSENT, by_default=_UNSENT)
RELEASE = Action(
    name="release", done="released", works_on=(State.HELD, State.CANCELLED), by_default=(State.HELD,)
)
RESEND = Action(name="resend", done="resent", works_on=_UNDELIVERED, by_default=(State.FAILED, State.EXPIRED))


class Hazard(StrEnum):
    """Why an email should not go out again unless an operator says so."""

    PERMANENT = "permanent"
    MAYBE_SENT = "maybe-sent"
    USELESS = "useless"
    SUPPRESSED = "suppressed"
    RESENT = "resent"


#: What each means, for people.
HAZARDS: Mapping[Hazard, str] = {
    Hazard.PERMANENT: "the mailbox is dead, or never was",
    Hazard.MAYBE_SENT: "the mail server may have it already",
    Hazard.USELESS: "its links, or what it tells, are too old",
    Hazard.SUPPRESSED: "a rule keeps its address from getting email",
    Hazard.RESENT: "a new copy of it was sent already",
}
_COUNTING: Mapping[str, frozenset[Hazard]] = {
    RETRY.name: frozenset(Hazard),
    # A new email has a life of its own.
    RESEND.name: frozenset(Hazard) - {Hazard.USELESS},
    RELEASE.name: frozenset({Hazard.MAYBE_SENT, Hazard.RESENT}),
}
_FORGOTTEN_WHEN_DELIVERED = "its content was forgotten when it was delivered"
_FORGOTTEN_IN_TIME = "its content was forgotten"
_FORGOTTEN = (_FORGOTTEN_WHEN_DELIVERED, _FORGOTTEN_IN_TIME)
#: Enhanced status codes about the address that are not the recipient's (RFC 3463 section 3.2).
_OF_THE_SENDER = frozenset({"5.1.7", "5.1.8"})
_DISABLED_MAILBOX = "5.2.1"
#: What a server without enhanced codes says of a mailbox that it does not have (RFC 5321 section 4.2.3).
_NO_MAILBOX_CODES = frozenset({550, 551, 553})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an email's own fields do not tell."""

    has_content: bool
    #: An attempt may have delivered it.
    may_be_sent: bool
    #: A new copy was made of it.
    is_resent: bool
    is_of_known_kind: bool = True
    #: Its message is on the broker for a task that does not ask the log.
    is_out_of_reach: bool = False
    #: Its links were made by somebody else, and are as old as it.
    has_foreign_links: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether something can be done to an email."""

    #: Why it cannot; "" if it can.
    obstacle: str = ""
    #: What does instead, for this one email; "" if there is nothing to say.
    fix: str = ""
    hazards: frozenset[Hazard] = frozenset()

    def left(self, included: frozenset[Hazard]) -> str:
        """Return why it is not done although it could be; "" if each of its hazards is included."""
        found = sorted(self.hazards - included)
        return "; ".join(f"{hazard}: {HAZARDS[hazard]}" for hazard in found)


def judge(action: Action, email: Email, facts: Facts, *, now: datetime) -> Judgement:
    """Decide whether an email is fit for an action, and what speaks against it."""
    if obstacle := _obstacle(action, email, facts, now=now):
        fix = f"send another with `{send_anew(email)}`" if obstacle in _FORGOTTEN else ""
        return Judgement(obstacle=obstacle, fix=fix)
    # A deferred email is tried again anyway: retry only makes it earlier.
    counting = frozenset() if email.state is State.DEFERRED else _COUNTING.get(action.name, frozenset())
    found = _hazards(email, facts, now=now) & counting
    if Hazard.USELESS in found and facts.has_foreign_links:
        return Judgement(obstacle="its links came ready-made with it, and are dead")
    return Judgement(hazards=found)


def is_of_a_dead_mailbox(reply: SmtpReply) -> bool:
    """Whether a refusal says that there is no such mailbox, so that trying again is of no use."""
    if reply.enhanced:
        is_address = reply.enhanced.startswith("5.1.") and reply.enhanced not in _OF_THE_SENDER
        return is_address or reply.enhanced == _DISABLED_MAILBOX
    return reply.code in _NO_MAILBOX_CODES


def _hazards(email: Email, facts: Facts, *, now: datetime) -> frozenset[Hazard]:
    found = {
        Hazard.PERMANENT: is_of_a_dead_mailbox(email.reply),
        Hazard.MAYBE_SENT: facts.may_be_sent,
        Hazard.USELESS: email.state is State.EXPIRED or is_too_late(now, email.expires_at),
        Hazard.SUPPRESSED: email.state is State.SUPPRESSED,
        Hazard.RESENT: facts.is_resent,
    }
    return frozenset(hazard for hazard, is_there in found.items() if is_there)


def _obstacle(action: Action, email: Email, facts: Facts, *, now: datetime) -> str:
    is_sent_again = action.name in _COUNTING
    if email.state is State.SENDING:
        return "a worker is sending it"
    if email.state in DELIVERED_STATES:
        if action.name == RESEND.name:
            return _FORGOTTEN_WHEN_DELIVERED
        return f"it has gone out: {email.state}"
    if email.state not in action.works_on:
        return _wrong_state(action, email)
    if is_sent_again and not facts.has_content:
        return _FORGOTTEN_IN_TIME
    if is_sent_again and not facts.is_of_known_kind:
        return f"there is no kind {email.kind!r} any more"
    if action.name == RELEASE.name and is_too_late(now, email.expires_at):
        return "its time is over; `mailctl resend` makes a new one"
    if facts.is_out_of_reach:
        return "its message is on the broker, and a task of the service's own sends it without asking"
    return ""


def _wrong_state(action: Action, email: Email) -> str:
    if email.state is State.HELD:
        return "it is held already" if action.name == HOLD.name else "it is held; use `mailctl release`"
    if action.name == RELEASE.name:
        return f"it is not held, but {email.state}"
    return f"it is on its way: {email.state}" if email.state in _UNSENT else f"it has ended: {email.state}"
