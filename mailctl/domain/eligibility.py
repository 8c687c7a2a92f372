"""What an operator may do to an email: pure decisions, from what the log knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.models import DELIVERED_STATES, Email, State
from mailctl.domain.retry_policy import is_too_late
from mailctl.shell_command import ShellCommand, mailctl_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that an operator does to emails."""

    name: str
    #: What an email is afterwards, for people.
    past_participle: str
    #: The states in which it can be done.
    allowed_states: tuple[State, ...]
    #: Those of them that are meant where filters name no state.
    default_states: tuple[State, ...]
    #: What it is called where it is offered for one email; "" where it never is.
    label: str = ""

    @property
    def is_stop(self) -> bool:
        """Whether it keeps emails from going out, until they are released."""
        return self in (CANCEL, PURGE, HOLD)


_UNSENT = (State.PENDING, State.QUEUED, State.DEFERRED)
_UNDELIVERED = (State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED)

RETRY = Action(
    name="retry",
    past_participle="retried",
    allowed_states=(*_UNDELIVERED, State.DEFERRED),
    # What was cancelled or suppressed was meant to be.
    default_states=(State.FAILED, State.EXPIRED, State.DEFERRED),
    label="Try it again",
)
CANCEL = Action(
    name="cancel",
    past_participle="cancelled",
    allowed_states=(*_UNSENT, State.HELD),
    default_states=(*_UNSENT, State.HELD),
    label="Take it back",
)
PURGE = Action(name="purge", past_participle="purged", allowed_states=_UNSENT, default_states=_UNSENT)
HOLD = Action(
    name="hold", past_participle="held", allowed_states=_UNSENT, default_states=_UNSENT, label="Keep it back"
)
RELEASE = Action(
    name="release",
    past_participle="released",
    allowed_states=(State.HELD, State.CANCELLED),
    default_states=(State.HELD,),
    label="Let it go",
)
RESEND = Action(
    name="resend",
    past_participle="resent",
    # What is held too long can only be made anew.
    allowed_states=(*_UNDELIVERED, State.HELD),
    default_states=(State.FAILED, State.EXPIRED),
    label="Make a new one of it",
)
#: What may be done to one email, in the order in which it is offered.
_OFFER_ORDER = (RELEASE, RETRY, RESEND, HOLD, CANCEL)
#: The name of an offer that is about another email: none of these actions.
SEND_ANOTHER = "send"


class Hazard(StrEnum):
    """Why an email should not go out again unless an operator says so."""

    PERMANENT = "permanent"
    MAYBE_SENT = "maybe-sent"
    USELESS = "useless"
    SUPPRESSED = "suppressed"
    RESENT = "resent"


#: What each means, for people.
HAZARD_DESCRIPTIONS: Mapping[Hazard, str] = {
    Hazard.PERMANENT: "the mailbox is dead, or never was",
    Hazard.MAYBE_SENT: "the mail server may have it already",
    Hazard.USELESS: "its links, or what it tells, are too old",
    Hazard.SUPPRESSED: "a rule keeps its address from getting email",
    Hazard.RESENT: "a new copy of it was sent already",
}
_RELEVANT_HAZARDS: Mapping[str, frozenset[Hazard]] = {
    RETRY.name: frozenset(Hazard),
    # A new email has a life of its own.
    RESEND.name: frozenset(Hazard) - {Hazard.USELESS},
    RELEASE.name: frozenset({Hazard.MAYBE_SENT, Hazard.RESENT}),
}
_CONTENT_DELETED_ON_DELIVERY = "its content was forgotten when it was delivered"
_CONTENT_DELETED = "its content was forgotten"
_CONTENT_DELETED_REASONS = (_CONTENT_DELETED_ON_DELIVERY, _CONTENT_DELETED)
_EXPIRED_REASON = "its time is over"
_HELD_REASON = "it is held"


@dataclass(frozen=True, kw_only=True)
class EligibilityFacts:
    """What an email's own fields do not tell."""

    has_content: bool
    #: An attempt may have delivered it.
    may_have_been_sent: bool
    #: A new copy was made of it.
    has_been_resent: bool
    #: The mail server said that the mailbox does not exist.
    is_mailbox_dead: bool = False
    has_known_kind: bool = True
    #: Its message is on the broker for a task that does not ask the log.
    is_queued_for_custom_task: bool = False
    #: Its links were made by somebody else, and are as old as it.
    has_ready_made_links: bool = False
    #: A key that is known here opens its content.
    can_be_decrypted: bool = True
    #: Its address is on the list of those that nothing is sent to, and nobody has forced it.
    is_address_suppressed: bool = False
    #: The command that sends another like it, perhaps to fill in; None where there is none.
    send_another_command: ShellCommand | None = None


@dataclass(frozen=True, kw_only=True)
class EligibilityResult:
    """Whether something can be done to an email."""

    #: Why it cannot; "" if it can.
    obstacle: str = ""
    #: What does instead, for this one email; "" if there is nothing to say.
    fix: str = ""
    hazards: frozenset[Hazard] = frozenset()

    def describe_blocking_hazards(self, included: frozenset[Hazard]) -> str:
        """Return why it is not done although it could be; "" if each of its hazards is included."""
        found = sorted(self.hazards - included)
        return "; ".join(f"{hazard}: {HAZARD_DESCRIPTIONS[hazard]}" for hazard in found)


@dataclass(frozen=True, kw_only=True)
class AvailableAction:
    """Something that can be done about an email, and the command that does it."""

    #: The name of the action, or `SEND_ANOTHER`.
    action: str
    #: For people.
    description: str
    command: ShellCommand
    #: What speaks against it; the command includes it.
    hazards: frozenset[Hazard] = frozenset()


def available_actions(email: Email, facts: EligibilityFacts, *, now: datetime) -> tuple[AvailableAction, ...]:
    """Return what an operator may do about an email: nothing that the commands themselves would refuse.

    Args:
        facts: all of them.
    """
    found = [offer for action in _OFFER_ORDER if (offer := _available_action(action, email, facts, now=now))]
    if found or not email.is_final or facts.send_another_command is None:
        return tuple(found)
    if facts.send_another_command.is_complete:
        return (
            AvailableAction(
                action=SEND_ANOTHER, description="Send another", command=facts.send_another_command
            ),
        )
    usage = mailctl_command("send", email.kind, help=True)
    return (AvailableAction(action=SEND_ANOTHER, description="See how to send another", command=usage),)


def _available_action(
    action: Action, email: Email, facts: EligibilityFacts, *, now: datetime
) -> AvailableAction | None:
    judgement = check_eligibility(action, email, facts, now=now)
    if judgement.obstacle:
        return None
    hazards = sorted(judgement.hazards)
    although = f", although {'; '.join(HAZARD_DESCRIPTIONS[hazard] for hazard in hazards)}" if hazards else ""
    command = mailctl_command(action.name, arguments=[email.id], include=",".join(hazards))
    return AvailableAction(
        action=action.name,
        description=f"{action.label}{although}",
        command=command,
        hazards=judgement.hazards,
    )


def check_eligibility(
    action: Action, email: Email, facts: EligibilityFacts, *, now: datetime
) -> EligibilityResult:
    """Decide whether an email is fit for an action, and what speaks against it."""
    if obstacle := _obstacle(action, email, facts, now=now):
        return EligibilityResult(obstacle=obstacle, fix=_fix(obstacle, email, facts, now=now))
    # A deferred email is tried again anyway: retry only makes it earlier.
    counting = (
        frozenset() if email.state is State.DEFERRED else _RELEVANT_HAZARDS.get(action.name, frozenset())
    )
    return EligibilityResult(hazards=_hazards(email, facts, now=now) & counting)


def is_expired(email: Email, *, now: datetime) -> bool:
    """Whether its links, or what it tells, are too old."""
    return email.state is State.EXPIRED or is_too_late(now, email.expires_at)


def _hazards(email: Email, facts: EligibilityFacts, *, now: datetime) -> frozenset[Hazard]:
    found = {
        Hazard.PERMANENT: facts.is_mailbox_dead,
        Hazard.MAYBE_SENT: facts.may_have_been_sent,
        Hazard.USELESS: is_expired(email, now=now),
        Hazard.SUPPRESSED: email.state is State.SUPPRESSED or facts.is_address_suppressed,
        Hazard.RESENT: facts.has_been_resent,
    }
    return frozenset(hazard for hazard, is_there in found.items() if is_there)


def _obstacle(action: Action, email: Email, facts: EligibilityFacts, *, now: datetime) -> str:
    is_sent_again = action.name in _RELEVANT_HAZARDS
    if email.state is State.SENDING:
        return "a worker is sending it"
    if email.state in DELIVERED_STATES:
        if action.name == RESEND.name:
            return _CONTENT_DELETED_ON_DELIVERY
        return f"it has gone out: {email.state}"
    if email.state not in action.allowed_states:
        return _wrong_state(action, email)
    if is_sent_again:
        return _obstacle_to_sending(action, email, facts, now=now)
    if facts.is_queued_for_custom_task:
        return "its message is on the broker, and a task of the service's own sends it without asking"
    return ""


def _obstacle_to_sending(action: Action, email: Email, facts: EligibilityFacts, *, now: datetime) -> str:
    """Return why an email in a fitting state cannot go out again, or not by this action."""
    is_late = is_expired(email, now=now)
    if action.name == RESEND.name and email.state is State.HELD and not is_late:
        return _wrong_state(action, email)
    if not facts.has_content:
        return _CONTENT_DELETED
    if not facts.has_known_kind:
        return f"there is no kind {email.kind!r} any more"
    if action.name == RELEASE.name and is_late:
        return _EXPIRED_REASON
    # A deferred email is on its way, and ends by itself when it is too late.
    if is_late and facts.has_ready_made_links and email.state is not State.DEFERRED:
        return "its links came ready-made with it, and are dead"
    if action.name == RESEND.name and not facts.can_be_decrypted:
        return "its content was sealed with another SECRET_KEY"
    return ""


def _fix(obstacle: str, email: Email, facts: EligibilityFacts, *, now: datetime) -> str:
    """Return what does instead, for this one email; "" if there is nothing to say."""
    if obstacle in _CONTENT_DELETED_REASONS and facts.send_another_command is not None:
        blanks = "" if facts.send_another_command.is_complete else " (fill in what is in capitals)"
        return f"send another{blanks}: {facts.send_another_command}"
    instead = {_EXPIRED_REASON: RESEND, _HELD_REASON: RELEASE}.get(obstacle)
    if instead is None or (offer := _available_action(instead, email, facts, now=now)) is None:
        return ""
    return f"instead: {offer.command}"


def _wrong_state(action: Action, email: Email) -> str:
    if email.state is State.HELD:
        return "it is held already" if action.name == HOLD.name else _HELD_REASON
    if action.name == RELEASE.name:
        return f"it is not held, but {email.state}"
    return f"it is on its way: {email.state}" if email.state in _UNSENT else f"it has ended: {email.state}"
