"""Plans and results of actions as text, and the exit code."""

from __future__ import annotations

from collections import Counter

import pytest

from mailctl.cli.action_results import exit_code, left_out_lines, plan_lines, show_results, summary
from mailctl.cli.terminal.output import Output
from mailctl.domain.eligibility import CANCEL, RESEND, Hazard
from mailctl.domain.states import State
from mailctl.errors import ExitCode
from mailctl.operations.action_models import ActionOutcome, ActionPlan, ActionResult
from tests.emails import email


def result(outcome: ActionOutcome, **more: object) -> ActionResult:
    """Return a result for a pending email."""
    return ActionResult(id="e1", email=email(), outcome=outcome, **more)  # type: ignore[arg-type]


def test_a_plan_shows_counts_reasons_and_a_sample() -> None:
    """Each email of the sample with its short id, state and error."""
    plan = ActionPlan(
        count=7,
        sample=(email(State.DEFERRED, error="451 busy"),),
        short_ids={"e1": "e"},
        states=Counter({State.PENDING: 3, State.DEFERRED: 4}),
        skipped_by_reason=Counter({"it is held": 2}),
    )
    assert list(plan_lines(plan, CANCEL)) == [
        "     7  would be cancelled (deferred 4, pending 3)",
        "     2  left out: it is held",
        "Examples:",
        "  e  deferred   welcome to zoe@example.com  451 busy",
    ]


def test_a_sample_of_all_emails_is_no_example() -> None:
    """The heading says so."""
    plan = ActionPlan(count=1, sample=(email(),), short_ids={"e1": "e"}, states=Counter({State.PENDING: 1}))
    assert "These are:" in list(plan_lines(plan, CANCEL))


def test_the_most_frequent_reason_comes_first() -> None:
    """As it matters most."""
    assert list(left_out_lines(Counter({"a": 1, "b": 12}))) == ["    12  left out: b", "     1  left out: a"]


def test_the_summary_counts_every_outcome() -> None:
    """What was done first."""
    tally = Counter({ActionOutcome.IMPOSSIBLE: 2, ActionOutcome.DONE: 1})
    assert summary(tally, CANCEL) == "1 email cancelled, 2 not possible."


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], ExitCode.DONE),
        ([ActionOutcome.DONE, ActionOutcome.PLANNED], ExitCode.DONE),
        ([ActionOutcome.DONE, ActionOutcome.LEFT_OUT], ExitCode.FAILED),
        ([ActionOutcome.IMPOSSIBLE, ActionOutcome.UNKNOWN], ExitCode.NOT_FOUND),
        ([ActionOutcome.UNKNOWN, ActionOutcome.AMBIGUOUS], ExitCode.USAGE),
    ],
)
def test_the_exit_code_is_that_of_the_most_severe_outcome(
    outcomes: list[ActionOutcome], code: ExitCode
) -> None:
    """Whatever else was done."""
    assert exit_code(outcomes) is code


def test_text_shows_all_results_or_only_the_impossible_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them are yielded."""
    results = [
        result(ActionOutcome.DONE, new_id="e2"),
        result(ActionOutcome.LEFT_OUT, reason="permanent", hazards=(Hazard.PERMANENT, Hazard.RESENT)),
        result(ActionOutcome.IMPOSSIBLE, reason="it is held", fix="instead: mailctl release e1"),
    ]
    assert list(show_results(Output(), results, RESEND, shows_all=True)) == results
    assert capsys.readouterr().out.splitlines() == [
        "resent  e1  welcome to zoe@example.com, as e2",
        "left out  e1  welcome to zoe@example.com: permanent; to include it, add --include permanent,resent",
        "not possible  e1  welcome to zoe@example.com: it is held; instead: mailctl release e1",
    ]
    assert list(show_results(Output(), results, RESEND, shows_all=False)) == results
    assert capsys.readouterr().out.count("\n") == 1


def test_json_shows_every_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs count for themselves."""
    results = [result(ActionOutcome.DONE), result(ActionOutcome.LEFT_OUT)]
    list(show_results(Output(as_json=True), results, CANCEL, shows_all=False))
    assert capsys.readouterr().out.count('"action": "cancel"') == 2
