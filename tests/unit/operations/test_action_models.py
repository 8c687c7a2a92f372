"""What an action would do to one email."""

from __future__ import annotations

import pytest

from mailctl.domain.eligibility import EligibilityResult, Hazard
from mailctl.operations.action_models import ActionOutcome, plan_result
from tests.emails import email

NOTHING: frozenset[Hazard] = frozenset()
RISKY = EligibilityResult(hazards=frozenset({Hazard.PERMANENT, Hazard.MAYBE_SENT}))


@pytest.mark.parametrize(
    ("eligibility", "include", "outcome"),
    [
        (EligibilityResult(), NOTHING, ActionOutcome.PLANNED),
        (EligibilityResult(obstacle="it is held"), NOTHING, ActionOutcome.IMPOSSIBLE),
        (RISKY, NOTHING, ActionOutcome.LEFT_OUT),
        (RISKY, frozenset({Hazard.PERMANENT}), ActionOutcome.LEFT_OUT),
        (RISKY, frozenset(Hazard), ActionOutcome.PLANNED),
    ],
)
def test_obstacles_and_hazards_decide(
    eligibility: EligibilityResult, include: frozenset[Hazard], outcome: ActionOutcome
) -> None:
    """A hazard excludes an email unless the operator includes it."""
    assert plan_result(email(), eligibility, include=include).outcome is outcome


def test_included_hazards_are_no_reason() -> None:
    """They are listed nevertheless."""
    result = plan_result(email(), RISKY, include=frozenset({Hazard.PERMANENT}))
    assert result.hazards == (Hazard.MAYBE_SENT, Hazard.PERMANENT)
    assert result.reason.startswith("maybe-sent: ")


def test_the_explanation_has_the_reason_and_the_fix() -> None:
    """Either may be missing."""
    held = EligibilityResult(obstacle="it is held", fix="instead: mailctl release e1")
    assert plan_result(email(), held, include=NOTHING).explanation == (
        "it is held; instead: mailctl release e1"
    )
    assert plan_result(email(), EligibilityResult(), include=NOTHING).explanation == ""
