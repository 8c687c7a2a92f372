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
from mailctl.cli.views import result_view
from mailctl.command import mailctl
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.errors import ExitCode, InvalidInput
from mailctl.operations.identity import current_actor
from mailctl.timefmt import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailctl.cli.context import Session
    from mailctl.cli.option_groups import Daring, Doing
    from mailctl.delivery_log.queries.search import Filter
    from mailctl.domain.eligibility import Action, Hazard
    from mailctl.domain.models import Email
    from mailctl.operations.bulk_actions import Acting, Plan, Result, Verdict
    from mailctl.operations.selection import Selection

#: Cells before the words of a plan.
_PLAN_HANG = 8


def carry_out(
    session: Session,
    action: Action,
    doing: Doing,
    *,
    ids: Sequence[str] | None = None,
    wanted: Filter,
    daring: Daring | None = None,
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
    from mailctl.delivery_log.operator_actions import Deed
    from mailctl.operations.bulk_actions import Acting, Verdict, Wish
    from mailctl.operations.selection import fitting

    _check_choice(action, ids, wanted)
    if ids is not None and not ids:
        session.output.note(NO_IDS)
    if doing.dry_run:
        session.log_mode = LogMode.READ
    mark = f"{action.name}-{secrets.token_hex(3)}" if action.is_stop and ids is None else ""
    deed = Deed(actor=current_actor(), reason=" ".join(doing.reason.split()), mark=mark)
    include = _included(daring, is_named=ids is not None) if daring else frozenset()
    acting = Acting(session.runtime, Wish(action=action, deed=deed, include=include))
    selection = _named(session, ids) if ids is not None else fitting(session.runtime, action, wanted)
    if doing.dry_run:
        _show_plan(session, acting, selection, action, wanted)
        return
    if (
        selection.wanted is not None
        and not doing.yes
        and not _is_wanted(session, acting, selection, action, wanted)
    ):
        return
    reasons: Counter[str] = Counter()
    tally = _carry_out(session, acting, selection, action, mark=mark, reasons=reasons)
    _tell_trouble(session, acting)
    if selection.wanted is None:
        _leave(tally)
    else:
        session.output.note(_summary(tally, action) if tally else _nothing_to_do(session, action, wanted))
        for line in _left_out(reasons):
            session.output.note(line)
        if mark and tally[Verdict.DONE]:
            session.output.note(f"Undo it with: {_undo(action, mark)}")


def _named(session: Session, ids: Sequence[str]) -> Selection:
    from mailctl.operations.selection import named

    with session.output.progress("looking up", total=lambda: len(ids)) as advance:
        return named(session.runtime, (advance(1) or each for each in ids))


def _carry_out(
    session: Session,
    acting: Acting,
    selection: Selection,
    action: Action,
    *,
    mark: str,
    reasons: Counter[str],
) -> Counter[Verdict]:
    """Do it; where that is cut short, say what is done and how to undo it.

    Args:
        reasons: is told why emails were not done, how often.

    Raises:
        Exit: somebody pressed Ctrl-C; what was told is done.
    """
    from mailctl.operations.bulk_actions import Verdict

    is_named = selection.wanted is None
    tally, is_complete = Counter[Verdict](), False
    try:
        with deferred_interrupts() as interrupt, _progress(session, selection, action) as advance:
            results = acting.carry_out(selection, is_stopped=lambda: interrupt.is_requested)
            for result in _shown(session, results, action, is_named=is_named):
                tally[result.verdict] += 1
                if result.verdict is not Verdict.DONE:
                    reasons[result.reason] += 1
                advance(1)
        is_complete = not interrupt.is_requested
    except KeyboardInterrupt:
        pass  # the second one: the last transaction may not be counted
    finally:
        if not is_complete:
            session.output.note(_cut_short(tally[Verdict.DONE], action, mark=mark, is_named=is_named))
    if not is_complete:
        raise typer.Exit(ExitCode.INTERRUPTED)
    return tally


@contextmanager
def _progress(session: Session, selection: Selection, action: Action) -> Iterator[Callable[[int], None]]:
    if selection.wanted is None:
        yield lambda _: None  # a line for each says how far it is
        return
    with session.output.progress(action.done, total=lambda: selection.count(session.runtime.engine)) as shown:
        yield shown


def _cut_short(number: int, action: Action, *, mark: str, is_named: bool) -> str:
    done = f"{number:,} {action.done}"
    if mark and number:
        return f"{done}; undo with: {_undo(action, mark)}"
    return (
        f"{done}; the rest is as it was." if is_named else f"{done}; the same command goes on with the rest."
    )


def _undo(action: Action, mark: str) -> str:
    from mailctl.domain.eligibility import HOLD

    return str(mailctl("release", state=None if action is HOLD else "cancelled", error=mark))


def _tell_trouble(session: Session, acting: Acting) -> None:
    if acting.broker_trouble:
        session.output.note(f"{acting.broker_trouble} They go out when the broker is back.")
    if acting.is_unheard:
        session.output.note(
            "No worker that shares this log is alive; one with a log of its own sends what is on the broker."
        )


def _check_choice(action: Action, ids: Sequence[str] | None, wanted: Filter) -> None:
    if ids is not None and not wanted.fits_all:
        raise InvalidInput("ids", "cannot be combined with filters.", fix="Give ids, or filters.")
    if ids is None and wanted.fits_all:
        raise InvalidInput(
            "emails", "are not named.", fix=f"Give ids, -, or filters such as --state {action.by_default[0]}."
        )


def _included(daring: Daring, *, is_named: bool) -> frozenset[Hazard]:
    from mailctl.cli.option_groups import name_in
    from mailctl.domain.eligibility import Hazard

    if daring.force and not is_named:
        raise InvalidInput(
            "--force", "is for emails that are named by id.", fix=f"Use --include {','.join(Hazard)}."
        )
    if daring.force:
        return frozenset(Hazard)
    names = [name.strip() for name in daring.include.split(",") if name.strip()]
    return frozenset(Hazard(name_in(name, list(Hazard), field="--include")) for name in names)


def _show_plan(
    session: Session, acting: Acting, selection: Selection, action: Action, wanted: Filter
) -> None:
    if session.output.as_json or selection.wanted is None:
        results = _shown(session, acting.look(selection), action, is_named=True)
        tally = Counter(result.verdict for result in results)
        if selection.wanted is None:
            _leave(tally)
        return
    for line in _plan_lines(session, _plan(session, acting, selection), action, wanted):
        session.output.prose(line, hang=_PLAN_HANG)


def _plan(session: Session, acting: Acting, selection: Selection) -> Plan:
    with session.output.progress("looking", total=lambda: selection.count(session.runtime.engine)) as advance:
        return acting.plan(selection, seen=advance)


def _is_wanted(
    session: Session, acting: Acting, selection: Selection, action: Action, wanted: Filter
) -> bool:
    """Show the plan and ask; return whether there is anything to do."""
    plan = _plan(session, acting, selection)
    for line in _plan_lines(session, plan, action, wanted):
        session.output.note(line)
    if not plan.count:
        return False
    question = f"{action.name.capitalize()} {count(plan.count, 'email')}?"
    confirm(question, is_sure=False, fix="Add --yes to do it, or --dry-run to only look.")
    return True


def _plan_lines(session: Session, plan: Plan, action: Action, wanted: Filter) -> Iterator[str]:
    if not plan.count and not plan.others:
        yield _nothing_to_do(session, action, wanted)
        return
    states = ", ".join(f"{state} {number}" for state, number in plan.states.most_common())
    yield f"{plan.count:>6}  would be {action.done}" + (f" ({states})" if states else "")
    yield from _left_out(plan.others)
    if plan.sample:
        yield "Such as:" if plan.count > len(plan.sample) else "These:"
    for email in plan.sample:
        yield f"  {plan.short_ids[email.id]}  {email.state:<9}  {_line(email)}" + (
            f"  {email.error}" if email.error else ""
        )


def _left_out(reasons: Counter[str]) -> Iterator[str]:
    for reason, number in reasons.most_common():
        yield f"{number:>6}  left out: {reason}"


def _shown(
    session: Session, results: Iterable[Result], action: Action, *, is_named: bool
) -> Iterator[Result]:
    """Show results as they come; of many that were found, people see only what did not go as planned."""
    from mailctl.operations.bulk_actions import Verdict

    for result in results:
        if session.output.as_json:
            session.output.record(result_view(action.name, result))
        elif is_named or result.verdict is Verdict.IMPOSSIBLE:
            word = action.done if result.verdict is Verdict.DONE else str(result.verdict)
            session.output.state(word, f"{result.id}  {_told(result)}")
        yield result


def _told(result: Result) -> str:
    what = _line(result.email) if result.email else ""
    if result.new_id:
        what += f", as {result.new_id}"
    return ": ".join(part for part in (what, result.sentence) if part)


def _line(email: Email) -> str:
    return f"{email.kind} to {email.to}"


def _nothing_to_do(session: Session, action: Action, wanted: Filter) -> str:
    from mailctl.operations.selection import nothing_to_do

    return nothing_to_do(session.runtime, action, wanted)


def _summary(tally: Counter[Verdict], action: Action) -> str:
    from mailctl.operations.bulk_actions import Verdict

    done = tally[Verdict.DONE]
    others = [f"{number} {verdict}" for verdict, number in tally.items() if verdict is not Verdict.DONE]
    return ", ".join([f"{count(done, 'email')} {action.done}", *others]) + "."


def _leave(tally: Counter[Verdict]) -> None:
    from mailctl.operations.bulk_actions import Verdict

    codes = {
        Verdict.AMBIGUOUS: ExitCode.USAGE,
        Verdict.UNKNOWN: ExitCode.NOT_FOUND,
        Verdict.LEFT: ExitCode.FAILED,
        Verdict.IMPOSSIBLE: ExitCode.FAILED,
    }
    if code := ExitCode.gravest(codes.get(verdict, ExitCode.DONE) for verdict in tally):
        raise typer.Exit(code)
