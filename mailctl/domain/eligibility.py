"""Decides what operators may do to an email: pure functions of what the delivery log knows about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import is_too_late
from mailctl.domain.shell_command import ShellCommand, mailctl_command
from mailctl.domain.states import SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mailctl.domain.models import Email


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action of operators on emails."""

    name: str
    #: What an email is afterwards, for messages.
    past_participle: str
    #: The states in which it is possible.
    allowed_states: tuple[State, ...]
    #: The states that it applies to if the filters name none.
    default_states: tuple[State, ...]
    #: Its label where it is suggested for one email; "" if it never is.
    label: str = ""

    @property
    def is_stop(self) -> bool:
        """Whether it stops emails until they are released."""
        return self in (CANCEL, PURGE, HOLD)


_UNSENT = (State.PENDING, State.QUEUED, State.DEFERRED)
_ENDED_UNSENT = (State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED)

RETRY = Action(
    name="retry",
    past_participle="retried",
    allowed_states=(*_ENDED_UNSENT, State.UNCONFIRMED, State.DEFERRED),
    # Cancelled, suppressed and unconfirmed emails are not retried unless an operator names the state.
    default_states=(State.FAILED, State.EXPIRED, State.DEFERRED),
    label="Retry it",
)
CANCEL = Action(
    name="cancel",
    past_participle="cancelled",
    allowed_states=(*_UNSENT, State.HELD),
    default_states=(*_UNSENT, State.HELD),
    label="Cancel it",
)
PURGE = Action(name="purge", past_participle="purged", allowed_states=_UNSENT, default_states=_UNSENT)
HOLD = Action(
    name="hold", past_participle="held", allowed_states=_UNSENT, default_states=_UNSENT, label="Hold it"
)
RELEASE = Action(
    name="release",
    past_participle="released",
    allowed_states=(State.HELD, State.CANCELLED),
    default_states=(State.HELD,),
    label="Release it",
)
RESEND = Action(
    name="resend",
    past_participle="resent",
    # An email that expired while it was held can only be resent.
    allowed_states=(*_ENDED_UNSENT, State.UNCONFIRMED, State.HELD),
    default_states=(State.FAILED, State.EXPIRED),
    label="Resend it as a new email",
)
#: The actions on one email, in the order in which they are suggested.
_SUGGESTION_ORDER = (RELEASE, RETRY, RESEND, HOLD, CANCEL)
#: The name of the suggestion to send another email, which is not one of these actions.
SEND_ANOTHER = "send"


class Hazard(StrEnum):
    """A reason not to send an email again, unless an operator includes it (`--include`)."""

    PERMANENT = "permanent"
    MAYBE_SENT = "maybe-sent"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    RESENT = "resent"


#: The description of each hazard, as a clause.
HAZARD_DESCRIPTIONS: Mapping[Hazard, str] = {
    Hazard.PERMANENT: "the mail server says that the mailbox does not exist",
    Hazard.MAYBE_SENT: "the mail server may have it already",
    Hazard.EXPIRED: "it has expired",
    Hazard.SUPPRESSED: "its address is suppressed",
    Hazard.UNSUBSCRIBED: "its recipient has unsubscribed",
    Hazard.RESENT: "it was already resent",
}
_RELEVANT_HAZARDS: Mapping[str, frozenset[Hazard]] = {
    RETRY.name: frozenset(Hazard),
    # A new email has a lifetime of its own.
    RESEND.name: frozenset(Hazard) - {Hazard.EXPIRED},
    RELEASE.name: frozenset({Hazard.MAYBE_SENT, Hazard.RESENT}),
}


@dataclass(frozen=True)
class _Obstacle:
    """A reason why an action is not possible, and the way around it."""

    reason: str
    #: The action that is possible instead, if the email is eligible for it.
    instead: Action | None = None
    #: Whether sending another email achieves the same.
    can_send_another: bool = False


_CONTENT_DELETED_ON_SENDING = _Obstacle("its content was deleted when it was sent", can_send_another=True)
_CONTENT_DELETED = _Obstacle("its content was deleted", can_send_another=True)
_EXPIRED = _Obstacle("it has expired", instead=RESEND)
_HELD = _Obstacle("it is held", instead=RELEASE)


@dataclass(frozen=True, kw_only=True)
class EligibilityFacts:
    """The facts about an email that its own fields do not contain."""

    has_content: bool
    #: Whether the mail server may have accepted it in an attempt without a known result.
    may_have_been_sent: bool
    #: Whether it was resent as a new email.
    has_been_resent: bool
    #: Whether the mail server said that the mailbox does not exist.
    is_mailbox_dead: bool = False
    has_known_kind: bool = True
    #: Whether its message is on the broker for an own task, which does not ask the delivery log.
    is_queued_for_own_task: bool = False
    #: Whether its links came with it, so that they expire with the email.
    has_ready_made_links: bool = False
    #: Whether one of the secret keys decrypts its content.
    can_be_decrypted: bool = True
    #: Whether its address is suppressed and no operator overrides that.
    is_address_suppressed: bool = False
    #: Whether its recipient has unsubscribed from such emails and no operator overrides that.
    has_unsubscribed: bool = False
    #: The command that sends another email like it, perhaps with gaps to fill in; None if there is none.
    send_another_command: ShellCommand | None = None


@dataclass(frozen=True, kw_only=True)
class EligibilityResult:
    """The answer whether an action on an email is possible."""

    #: Why it is not possible; "" if it is.
    obstacle: str = ""
    #: What to do instead; "" if nothing is known.
    fix: str = ""
    hazards: frozenset[Hazard] = frozenset()

    def describe_blocking_hazards(self, included: frozenset[Hazard]) -> str:
        """Return the hazards that are not included, in words; "" if there are none."""
        found = sorted(self.hazards - included)
        return "; ".join(f"{hazard}: {HAZARD_DESCRIPTIONS[hazard]}" for hazard in found)


@dataclass(frozen=True, kw_only=True)
class AvailableAction:
    """An action that is possible on an email, and its command."""

    #: The name of the action, or `SEND_ANOTHER`.
    action: str
    #: What it does, in words.
    description: str
    command: ShellCommand
    #: The hazards that the command includes.
    hazards: frozenset[Hazard] = frozenset()


def available_actions(email: Email, facts: EligibilityFacts, *, now: datetime) -> tuple[AvailableAction, ...]:
    """Return what an operator may do about an email, without anything that the commands would refuse.

    Args:
        email: the email.
        facts: all facts about the email.
        now: the present time.
    """
    found = [
        suggestion
        for action in _SUGGESTION_ORDER
        if (suggestion := _available_action(action, email, facts, now=now))
    ]
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
    result = check_eligibility(action, email, facts, now=now)
    if result.obstacle:
        return None
    hazards = sorted(result.hazards)
    although = f", although {'; '.join(HAZARD_DESCRIPTIONS[hazard] for hazard in hazards)}" if hazards else ""
    command = mailctl_command(action.name, arguments=[email.id], include=",".join(hazards))
    return AvailableAction(
        action=action.name,
        description=f"{action.label}{although}",
        command=command,
        hazards=result.hazards,
    )


def check_eligibility(
    action: Action, email: Email, facts: EligibilityFacts, *, now: datetime
) -> EligibilityResult:
    """Decide whether an action on an email is possible, and with which hazards."""
    if obstacle := _obstacle(action, email, facts, now=now):
        return EligibilityResult(obstacle=obstacle.reason, fix=_fix(obstacle, email, facts, now=now))
    # A deferred email is tried again anyway: a retry only makes it earlier.
    relevant = (
        frozenset() if email.state is State.DEFERRED else _RELEVANT_HAZARDS.get(action.name, frozenset())
    )
    return EligibilityResult(hazards=_hazards(email, facts, now=now) & relevant)


def is_expired(email: Email, *, now: datetime) -> bool:
    """Whether an email has expired, or will before it could be sent."""
    return email.state is State.EXPIRED or is_too_late(now, email.expires_at)


def _hazards(email: Email, facts: EligibilityFacts, *, now: datetime) -> frozenset[Hazard]:
    is_suppressed = email.state is State.SUPPRESSED
    is_unwanted = is_suppressed and email.reason_code is ReasonCode.UNSUBSCRIBED
    found = {
        Hazard.PERMANENT: facts.is_mailbox_dead,
        Hazard.MAYBE_SENT: facts.may_have_been_sent or email.state is State.UNCONFIRMED,
        Hazard.EXPIRED: is_expired(email, now=now),
        Hazard.SUPPRESSED: (is_suppressed and not is_unwanted) or facts.is_address_suppressed,
        Hazard.UNSUBSCRIBED: is_unwanted or facts.has_unsubscribed,
        Hazard.RESENT: facts.has_been_resent,
    }
    return frozenset(hazard for hazard, is_there in found.items() if is_there)


def _obstacle(action: Action, email: Email, facts: EligibilityFacts, *, now: datetime) -> _Obstacle | None:
    is_sent_again = action.name in _RELEVANT_HAZARDS
    if email.state is State.SENDING:
        return _Obstacle("a worker is sending it")
    if email.state is State.BOUNCED and is_sent_again:
        return _CONTENT_DELETED_ON_SENDING
    if email.state in SENT_OR_CAPTURED:
        if action.name == RESEND.name:
            return _CONTENT_DELETED_ON_SENDING
        return _Obstacle(f"it is already {email.state}")
    if email.state not in action.allowed_states:
        return _wrong_state(action, email)
    if is_sent_again:
        return _obstacle_to_sending(action, email, facts, now=now)
    if facts.is_queued_for_own_task:
        return _Obstacle(
            "its message is on the broker, and the service's own task does not ask the delivery log"
        )
    return None


def _obstacle_to_sending(
    action: Action, email: Email, facts: EligibilityFacts, *, now: datetime
) -> _Obstacle | None:
    """Return why an email in an allowed state cannot be sent again by this action."""
    is_late = is_expired(email, now=now)
    if action.name == RESEND.name and email.state is State.HELD and not is_late:
        return _wrong_state(action, email)
    if not facts.has_content:
        return _CONTENT_DELETED
    if not facts.has_known_kind:
        return _Obstacle(f"there is no kind {email.kind!r} any more")
    if action.name == RELEASE.name and is_late:
        return _EXPIRED
    # A deferred email expires by itself when it is too late.
    if is_late and facts.has_ready_made_links and email.state is not State.DEFERRED:
        return _Obstacle("its links came with it, and they have expired")
    if action.name == RESEND.name and not facts.can_be_decrypted:
        return _Obstacle("its content is encrypted with another SECRET_KEY")
    return None


def _fix(obstacle: _Obstacle, email: Email, facts: EligibilityFacts, *, now: datetime) -> str:
    """Return what to do instead; "" if nothing is known."""
    if obstacle.can_send_another and facts.send_another_command is not None:
        blanks = "" if facts.send_another_command.is_complete else " (fill in what is in capitals)"
        return f"send another{blanks}: {facts.send_another_command}"
    instead = obstacle.instead
    suggestion = _available_action(instead, email, facts, now=now) if instead is not None else None
    return f"instead: {suggestion.command}" if suggestion is not None else ""


def _wrong_state(action: Action, email: Email) -> _Obstacle:
    if email.state is State.HELD:
        return _Obstacle("it is already held") if action.name == HOLD.name else _HELD
    if action.name == RELEASE.name:
        return _Obstacle(f"it is not held, but {email.state}")
    return _Obstacle(
        f"it {'is still to be sent' if email.state in _UNSENT else 'has already ended'}: {email.state}"
    )
