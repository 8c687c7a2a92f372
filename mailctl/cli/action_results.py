"""Plans and results of the actions on emails, as text and as JSON, and the exit code of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import ExitCode
from mailctl.operations.action_models import ActionOutcome
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable, Iterator

    from mailctl.cli.terminal.output import Output
    from mailctl.domain.eligibility import Action
    from mailctl.domain.models import Email
    from mailctl.operations.action_models import ActionPlan, ActionResult

_EXIT_CODES = {
    ActionOutcome.AMBIGUOUS: ExitCode.USAGE,
    ActionOutcome.UNKNOWN: ExitCode.NOT_FOUND,
    ActionOutcome.LEFT_OUT: ExitCode.FAILED,
    ActionOutcome.IMPOSSIBLE: ExitCode.FAILED,
}


def show_results(
    output: Output, results: Iterable[ActionResult], action: Action, *, shows_all: bool
) -> Iterator[ActionResult]:
    """Print results as they come, and yield them.

    Args:
        output: where they are printed.
        results: the results.
        action: the action that was applied.
        shows_all: whether the text has a line for every email, or only for those that were not changed.
    """
    for result in results:
        if output.as_json:
            from mailctl.views.actions import ActionResultView

            output.record(ActionResultView.of(action.name, result))
        elif shows_all or result.outcome is ActionOutcome.IMPOSSIBLE:
            is_done = result.outcome is ActionOutcome.DONE
            output.state(
                action.past_participle if is_done else str(result.outcome),
                f"{result.id}  {_describe_result(result)}",
            )
        yield result


def plan_lines(plan: ActionPlan, action: Action) -> Iterator[str]:
    """Yield the lines that describe a plan: counts, reasons and a sample."""
    states = ", ".join(f"{state} {number}" for state, number in plan.states.most_common())
    yield f"{plan.count:>6}  would be {action.past_participle}" + (f" ({states})" if states else "")
    yield from left_out_lines(plan.skipped_by_reason)
    if plan.sample:
        yield "Examples:" if plan.count > len(plan.sample) else "These are:"
    for email in plan.sample:
        error = f"  {email.error}" if email.error else ""
        yield f"  {plan.short_ids[email.id]}  {email.state:<9}  {_describe_email(email)}{error}"


def left_out_lines(reasons: Counter[str]) -> Iterator[str]:
    """Yield how many emails were left out for each reason, the most frequent first."""
    for reason, number in reasons.most_common():
        yield f"{number:>6}  left out: {reason}"


def summary(tally: Counter[ActionOutcome], action: Action) -> str:
    """Return a sentence that says how many emails had each outcome."""
    done = f"{pluralize(tally[ActionOutcome.DONE], 'email')} {action.past_participle}"
    others = [f"{number} {outcome}" for outcome, number in tally.items() if outcome is not ActionOutcome.DONE]
    return ", ".join([done, *others]) + "."


def exit_code(outcomes: Collection[ActionOutcome]) -> ExitCode:
    """Return the exit code of a command with these outcomes."""
    return ExitCode.most_severe(_EXIT_CODES.get(outcome, ExitCode.DONE) for outcome in outcomes)


def _describe_result(result: ActionResult) -> str:
    email = _describe_email(result.email) if result.email else ""
    if result.new_id:
        email += f", as {result.new_id}"
    text = ": ".join(part for part in (email, result.explanation) if part)
    is_left_out = result.outcome is ActionOutcome.LEFT_OUT
    return f"{text}; to include it, add --include {','.join(result.hazards)}" if is_left_out else text


def _describe_email(email: Email) -> str:
    return f"{email.kind} to {email.to}"
