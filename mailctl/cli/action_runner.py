"""What the commands that do something to emails have in common: plan, question, results, exit code."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mailctl.cli.arguments import NO_IDS
from mailctl.cli.terminal.confirm import confirm
from mailctl.cli.terminal.interrupts import deferred_interrupts
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, InvalidInput
from mailctl.operations.identity import current_actor
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailctl.cli.context import CliSession
    from mailctl.cli.option_groups import ActionOptions, OverrideOptions
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.domain.eligibility import Action, Hazard
    from mailctl.domain.models import Email
    from mailctl.operations.bulk_actions import ActionOutcome, ActionResult, BulkAction, Plan
    from mailctl.operations.selection import Selection

#: Cells before the words of a plan.
_PLAN_INDENT = 8


def run_action(
    session: CliSession,
    action: Action,
    doing: ActionOptions,
    *,
    ids: Sequence[str] | None = None,
    wanted: EmailFilter,
    daring: OverrideOptions | None = None,
) -> None:
    """Do something to emails, and tell what became of each.

    Args:
        ids: of emails, perhaps none; these are not asked about. None where filters are given.
        wanted: what the emails are found by, after a question that tells how many they are.
        daring: what else is done.

    Raises:
        Refused: nobody is there to be asked, or said no.
        InvalidInput: neither ids nor filters are given, or both are.
    """
    from mailctl.delivery_log.operator_actions import AuditInfo
    from mailctl.operations.bulk_actions import ActionOutcome, ActionRequest, BulkAction
    from mailctl.operations.selection import select_by_filter

    _check_ids_or_filters(action, ids, wanted)
    if ids is not None and not ids:
        session.output.note(NO_IDS)
    if doing.dry_run:
        session.access_mode = AccessMode.READ
    mark = f"{action.name}-{secrets.token_hex(3)}" if action.is_stop and ids is None else ""
    audit = AuditInfo(actor=current_actor(), reason=" ".join(doing.reason.split()), batch_mark=mark)
    include = _included_hazards(daring, is_named=ids is not None) if daring else frozenset()
    acting = BulkAction(session.runtime, ActionRequest(action=action, audit=audit, include=include))
    selection = (
        _select_by_ids(session, ids) if ids is not None else select_by_filter(session.runtime, action, wanted)
    )
    if doing.dry_run:
        _show_plan(session, acting, selection, action, wanted)
        return
    if (
        selection.filter is not None
        and not doing.yes
        and not _confirm_plan(session, acting, selection, action, wanted)
    ):
        return
    reasons: Counter[str] = Counter()
    tally = _execute(session, acting, selection, action, mark=mark, reasons=reasons)
    _note_broker_problems(session, acting)
    if selection.filter is None:
        _exit_by_outcomes(tally)
    else:
        session.output.note(
            _summary(tally, action) if tally else _nothing_to_do_message(session, action, wanted)
        )
        for line in _left_out_lines(reasons):
            session.output.note(line)
        if mark and tally[ActionOutcome.DONE]:
            session.output.note(f"Undo it with: {_undo_command(action, mark)}")


def _select_by_ids(session: CliSession, ids: Sequence[str]) -> Selection:
    from mailctl.operations.selection import select_by_ids

    with session.output.progress("looking up", total=lambda: len(ids)) as advance:
        return select_by_ids(session.runtime, (advance(1) or each for each in ids))


def _execute(
    session: CliSession,
    acting: BulkAction,
    selection: Selection,
    action: Action,
    *,
    mark: str,
    reasons: Counter[str],
) -> Counter[ActionOutcome]:
    """Do it; where that is cut short, say what is done and how to undo it.

    Args:
        reasons: is told why emails were not done, how often.

    Raises:
        Exit: somebody pressed Ctrl-C; what was told is done.
    """
    from mailctl.operations.bulk_actions import ActionOutcome

    is_named = selection.filter is None
    tally, is_complete = Counter[ActionOutcome](), False
    try:
        with deferred_interrupts() as interrupt, _progress(session, selection, action) as advance:
            results = acting.execute(selection, is_stopped=lambda: interrupt.is_requested)
            for result in _show_results(session, results, action, is_named=is_named):
                tally[result.outcome] += 1
                if result.outcome is not ActionOutcome.DONE:
                    reasons[result.reason] += 1
                advance(1)
        is_complete = not interrupt.is_requested
    except KeyboardInterrupt:
        pass  # the second one: the last transaction may not be counted
    finally:
        if not is_complete:
            session.output.note(
                _interrupted_message(tally[ActionOutcome.DONE], action, mark=mark, is_named=is_named)
            )
    if not is_complete:
        raise typer.Exit(ExitCode.INTERRUPTED)
    return tally


@contextmanager
def _progress(session: CliSession, selection: Selection, action: Action) -> Iterator[Callable[[int], None]]:
    if selection.filter is None:
        yield lambda _: None  # a line for each says how far it is
        return
    with session.output.progress(
        action.past_participle, total=lambda: selection.count(session.runtime.engine)
    ) as shown:
        yield shown


def _interrupted_message(number: int, action: Action, *, mark: str, is_named: bool) -> str:
    done = f"{number:,} {action.past_participle}"
    if mark and number:
        return f"{done}; undo with: {_undo_command(action, mark)}"
    return (
        f"{done}; the rest is as it was." if is_named else f"{done}; the same command goes on with the rest."
    )


def _undo_command(action: Action, mark: str) -> str:
    from mailctl.domain.eligibility import HOLD

    return str(mailctl_command("release", state=None if action is HOLD else "cancelled", error=mark))


def _note_broker_problems(session: CliSession, acting: BulkAction) -> None:
    if acting.broker_error:
        session.output.note(f"{acting.broker_error} They go out when the broker is back.")
    if acting.may_still_be_sent:
        session.output.note(
            "No worker that shares this log is alive; one with a log of its own sends what is on the broker."
        )


def _check_ids_or_filters(action: Action, ids: Sequence[str] | None, wanted: EmailFilter) -> None:
    if ids is not None and not wanted.matches_all:
        raise InvalidInput("ids", "cannot be combined with filters.", fix="Give ids, or filters.")
    if ids is None and wanted.matches_all:
        raise InvalidInput(
            "emails",
            "are not named.",
            fix=f"Give ids, -, or filters such as --state {action.default_states[0]}.",
        )


def _included_hazards(daring: OverrideOptions, *, is_named: bool) -> frozenset[Hazard]:
    from mailctl.cli.option_groups import require_choice
    from mailctl.domain.eligibility import Hazard

    if daring.force and not is_named:
        raise InvalidInput(
            "--force", "is for emails that are named by id.", fix=f"Use --include {','.join(Hazard)}."
        )
    if daring.force:
        return frozenset(Hazard)
    names = [name.strip() for name in daring.include.split(",") if name.strip()]
    return frozenset(Hazard(require_choice(name, list(Hazard), field="--include")) for name in names)


def _show_plan(
    session: CliSession, acting: BulkAction, selection: Selection, action: Action, wanted: EmailFilter
) -> None:
    if session.output.as_json or selection.filter is None:
        results = _show_results(session, acting.dry_run(selection), action, is_named=True)
        tally = Counter(result.outcome for result in results)
        if selection.filter is None:
            _exit_by_outcomes(tally)
        return
    for line in _plan_lines(session, _make_plan(session, acting, selection), action, wanted):
        session.output.prose(line, hang=_PLAN_INDENT)


def _make_plan(session: CliSession, acting: BulkAction, selection: Selection) -> Plan:
    with session.output.progress("looking", total=lambda: selection.count(session.runtime.engine)) as advance:
        return acting.plan(selection, seen=advance)


def _confirm_plan(
    session: CliSession, acting: BulkAction, selection: Selection, action: Action, wanted: EmailFilter
) -> bool:
    """Show the plan and ask; return whether there is anything to do."""
    plan = _make_plan(session, acting, selection)
    for line in _plan_lines(session, plan, action, wanted):
        session.output.note(line)
    if not plan.count:
        return False
    question = f"{action.name.capitalize()} {pluralize(plan.count, 'email')}?"
    confirm(question, is_sure=False, fix="Add --yes to do it, or --dry-run to only look.")
    return True


def _plan_lines(session: CliSession, plan: Plan, action: Action, wanted: EmailFilter) -> Iterator[str]:
    if not plan.count and not plan.skipped_by_reason:
        yield _nothing_to_do_message(session, action, wanted)
        return
    states = ", ".join(f"{state} {number}" for state, number in plan.states.most_common())
    yield f"{plan.count:>6}  would be {action.past_participle}" + (f" ({states})" if states else "")
    yield from _left_out_lines(plan.skipped_by_reason)
    if plan.sample:
        yield "Such as:" if plan.count > len(plan.sample) else "These:"
    for email in plan.sample:
        yield f"  {plan.short_ids[email.id]}  {email.state:<9}  {_describe_email(email)}" + (
            f"  {email.error}" if email.error else ""
        )


def _left_out_lines(reasons: Counter[str]) -> Iterator[str]:
    for reason, number in reasons.most_common():
        yield f"{number:>6}  left out: {reason}"


def _show_results(
    session: CliSession, results: Iterable[ActionResult], action: Action, *, is_named: bool
) -> Iterator[ActionResult]:
    """Show results as they come; of many that were found, people see only what did not go as planned."""
    from mailctl.operations.bulk_actions import ActionOutcome

    for result in results:
        if session.output.as_json:
            from mailctl.views.actions import ActionResultView

            session.output.record(ActionResultView.of(action.name, result))
        elif is_named or result.outcome is ActionOutcome.IMPOSSIBLE:
            word = action.past_participle if result.outcome is ActionOutcome.DONE else str(result.outcome)
            session.output.state(word, f"{result.id}  {_describe_result(result)}")
        yield result


def _describe_result(result: ActionResult) -> str:
    what = _describe_email(result.email) if result.email else ""
    if result.new_id:
        what += f", as {result.new_id}"
    return ": ".join(part for part in (what, result.explanation) if part)


def _describe_email(email: Email) -> str:
    return f"{email.kind} to {email.to}"


def _nothing_to_do_message(session: CliSession, action: Action, wanted: EmailFilter) -> str:
    from mailctl.operations.selection import nothing_to_do_message

    return nothing_to_do_message(session.runtime, action, wanted)


def _summary(tally: Counter[ActionOutcome], action: Action) -> str:
    from mailctl.operations.bulk_actions import ActionOutcome

    done = tally[ActionOutcome.DONE]
    others = [f"{number} {verdict}" for verdict, number in tally.items() if verdict is not ActionOutcome.DONE]
    return ", ".join([f"{pluralize(done, 'email')} {action.past_participle}", *others]) + "."


def _exit_by_outcomes(tally: Counter[ActionOutcome]) -> None:
    from mailctl.operations.bulk_actions import ActionOutcome

    codes = {
        ActionOutcome.AMBIGUOUS: ExitCode.USAGE,
        ActionOutcome.UNKNOWN: ExitCode.NOT_FOUND,
        ActionOutcome.LEFT_OUT: ExitCode.FAILED,
        ActionOutcome.IMPOSSIBLE: ExitCode.FAILED,
    }
    if code := ExitCode.most_severe(codes.get(verdict, ExitCode.DONE) for verdict in tally):
        raise typer.Exit(code)
