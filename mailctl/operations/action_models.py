"""The frozen values of bulk actions: the request, the plan, and the result for each email."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.delivery_log.operator_actions import AuditInfo
    from mailctl.domain.eligibility import Action, EligibilityResult, Hazard
    from mailctl.domain.models import Email
    from mailctl.domain.states import State


class ActionOutcome(StrEnum):
    """The outcome of an action for one email, or the one that is planned."""

    DONE = "done"
    PLANNED = "would be done"
    LEFT_OUT = "left out"  #: possible, but not included because of a hazard
    IMPOSSIBLE = "not possible"
    UNKNOWN = "unknown"  #: the delivery log has no email with this id
    AMBIGUOUS = "ambiguous"  #: several ids start with the given characters


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """The result of an action for one email."""

    #: The id of the email, or the given id if there is no email.
    id: str
    email: Email | None
    outcome: ActionOutcome
    #: Why it was not done, in the same words for all emails with this reason; "" if it was done.
    reason: str = ""
    #: What to do instead for this email; "" if there is nothing to suggest.
    fix: str = ""
    hazards: tuple[Hazard, ...] = ()
    #: The id of the new copy, after a resend.
    new_id: str | None = None

    @property
    def explanation(self) -> str:
        """Why it was not done, and what to do instead."""
        return "; ".join(part for part in (self.reason, self.fix) if part)


@dataclass(frozen=True, kw_only=True)
class ActionBatch:
    """The results of one transaction."""

    #: The number of emails that the action was done to.
    done: int
    #: The results for the others.
    others: tuple[ActionResult, ...]


@dataclass(frozen=True, kw_only=True)
class ActionRequest:
    """An action that an operator requests."""

    action: Action
    audit: AuditInfo
    #: The hazards that do not exclude an email.
    include: frozenset[Hazard] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ActionPlan:
    """A summary of what an action would do."""

    #: The number of emails that the action would be done to.
    count: int
    sample: tuple[Email, ...]
    #: The short ids of the emails in the sample, by id.
    short_ids: Mapping[str, str] = field(default_factory=dict)
    #: The number of emails that the action would be done to, by state.
    states: Counter[State] = field(default_factory=Counter)
    #: The number of other emails, by the reason.
    skipped_by_reason: Counter[str] = field(default_factory=Counter)


def plan_result(email: Email, eligibility: EligibilityResult, *, include: frozenset[Hazard]) -> ActionResult:
    """Return what an action would do to an email; the hazards in `include` do not exclude it."""
    blocking = eligibility.describe_blocking_hazards(include)
    if eligibility.obstacle:
        outcome = ActionOutcome.IMPOSSIBLE
    else:
        outcome = ActionOutcome.LEFT_OUT if blocking else ActionOutcome.PLANNED
    return ActionResult(
        id=email.id,
        email=email,
        outcome=outcome,
        reason=eligibility.obstacle or blocking,
        fix=eligibility.fix,
        hazards=tuple(sorted(eligibility.hazards)),
    )
