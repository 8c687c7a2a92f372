"""The results of actions on emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mailctl.domain.eligibility import Hazard
from mailctl.domain.states import State
from mailctl.operations.action_models import ActionOutcome
from mailctl.views.base import View

if TYPE_CHECKING:
    from mailctl.operations.action_models import ActionResult

ActionName = Literal["retry", "cancel", "hold", "release", "resend", "purge"]


class EmptySelectionView(View):
    """The result of an action whose filters select no email."""

    action: ActionName
    emails: Literal[0] = Field(0, description="How many emails the filters select.")
    explanation: str = Field(description="Why the filters select none.")


class ActionResultView(View):
    """The result of an action on one email."""

    task_id: str
    action: ActionName
    outcome: ActionOutcome
    reason: str | None = Field(description="Why the action was not taken.")
    hazards: list[Hazard] = Field(json_schema_extra={"uniqueItems": True})
    state: State | None = Field(description="Null for an unknown email.")
    new_task_id: str | None = Field(description="The id of the new email that `resend` created.")

    @classmethod
    def of(cls, action: str, result: ActionResult) -> ActionResultView:
        """Return the view of a result.

        Args:
            action: the name of the action.
            result: its result for one email.
        """
        return cls.model_validate(
            {
                "task_id": result.id,
                "action": action,
                "outcome": result.outcome,
                "reason": result.explanation or None,
                "hazards": list(result.hazards),
                "state": result.email.state if result.email else None,
                "new_task_id": result.new_id,
            }
        )
