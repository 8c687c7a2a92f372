"""The results of actions as JSON."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mailctl.domain.eligibility import CANCEL, HOLD, PURGE, RELEASE, RESEND, RETRY, Hazard
from mailctl.domain.states import State
from mailctl.operations.action_models import ActionOutcome, ActionResult
from mailctl.views.actions import ActionResultView
from tests.emails import email

LEFT_OUT = ActionResult(
    id="e1",
    email=email(State.FAILED),
    outcome=ActionOutcome.LEFT_OUT,
    reason="the mailbox is dead",
    fix="add --force",
    hazards=(Hazard.PERMANENT,),
)


def test_the_reason_says_what_to_do_instead() -> None:
    """Hazards are there by their names."""
    assert ActionResultView.of("retry", LEFT_OUT).as_json() == {
        "task_id": "e1",
        "action": "retry",
        "outcome": "left out",
        "reason": "the mailbox is dead; add --force",
        "hazards": ["permanent"],
        "state": "failed",
        "new_task_id": None,
    }


def test_an_unknown_id_has_no_state() -> None:
    """What was given is the id."""
    result = ActionResult(id="ffff", email=None, outcome=ActionOutcome.UNKNOWN)
    view = ActionResultView.of("cancel", result)
    assert (view.task_id, view.state, view.reason) == ("ffff", None, None)


def test_every_action_is_in_the_schema() -> None:
    """A new one has to be added there."""
    for action in (CANCEL, HOLD, PURGE, RELEASE, RESEND, RETRY):
        assert ActionResultView.of(action.name, LEFT_OUT).action == action.name
    with pytest.raises(ValidationError):
        ActionResultView.of("explode", LEFT_OUT)
