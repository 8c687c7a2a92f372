"""Runs an action on emails, given by ids or by filters: plan, confirmation, results, exit code."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from mailctl.cli.action_results import exit_code, left_out_lines, plan_lines, show_results, summary
from mailctl.cli.arguments import NO_IDS
from mailctl.cli.terminal.confirm import confirm
from mailctl.cli.terminal.interrupts import deferred_interrupts
from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.domain.eligibility import Hazard
from mailctl.errors import ExitCode, InvalidInput
from mailctl.operations.action_models import ActionOutcome, ActionRequest
from mailctl.operations.bulk_action_ids import new_bulk_action_id, undo_command
from mailctl.operations.bulk_actions import BulkAction
from mailctl.operations.identity import current_actor
from mailctl.operations.selection import nothing_to_do_message, select_by_filter, select_by_ids
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.cli.context import CliSession
    from mailctl.cli.option_groups import ActionOptions, OverrideOptions
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.domain.eligibility import Action
    from mailctl.operations.action_models import ActionPlan, ActionResult
    from mailctl.operations.selection import Selection

#: The indentation of the continuation lines of a plan, in cells.
_PLAN_INDENT = 8


def run_action(
    session: CliSession,
    action: Action,
    options: ActionOptions,
    *,
    ids: Sequence[str] | None = None,
    filters: EmailFilter,
    overrides: OverrideOptions | None = None,
) -> None:
    """Apply an action to emails and print the results.

    Args:
        session: the session of this call.
        action: the action.
        options: reason, --dry-run and --yes.
        ids: ids of the emails, which need no confirmation; None if filters select them.
        filters: the filters; they select the emails if no ids are given.
        overrides: which hazards to ignore.

    Raises:
        Refused: the operator did not confirm.
        InvalidInput: neither ids nor filters are given, or both are.
        Exit: not every email given by id was changed, or the operator pressed Ctrl-C.
    """
    _require_ids_or_filters(action, ids, filters)
    if options.dry_run:
        session.access_mode = AccessMode.READ
    audit = AuditInfo(
        actor=current_actor(),
        reason=" ".join(options.reason.split()),
        bulk_action_id=new_bulk_action_id(action) if ids is None else None,
    )
    include = included_hazards(overrides, has_ids=ids is not None) if overrides else frozenset()
    bulk = BulkAction(session.runtime, ActionRequest(action=action, audit=audit, include=include))
    runner = _ActionRunner(session=session, action=action, bulk=bulk, bulk_action_id=audit.bulk_action_id)
    if ids is not None:
        runner.run_on_ids(ids, is_dry_run=options.dry_run)
    else:
        runner.run_on_matches(filters, is_dry_run=options.dry_run, is_confirmed=options.yes)


def included_hazards(overrides: OverrideOptions, *, has_ids: bool) -> frozenset[Hazard]:
    """Return the hazards that --include and --force ignore.

    Raises:
        InvalidInput: --force is given without ids, or a hazard does not exist.
    """
    if overrides.force and not has_ids:
        raise InvalidInput("--force", "requires ids.", fix=f"Use --include {','.join(Hazard)}.")
    if overrides.force:
        return frozenset(Hazard)
    names = [name.strip() for name in overrides.include.split(",") if name.strip()]
    return frozenset(Hazard(require_choice(name, list(Hazard), noun="hazard")) for name in names)


def _require_ids_or_filters(action: Action, ids: Sequence[str] | None, filters: EmailFilter) -> None:
    if ids is not None and not filters.matches_all:
        raise InvalidInput("ids", "cannot be combined with filters.", fix="Give ids, or filters.")
    if ids is None and filters.matches_all:
        raise InvalidInput(
            "Ids or filters",
            "are required.",
            fix=f"Give ids, -, or filters such as --state {action.default_states[0]}.",
        )


@dataclass(frozen=True, kw_only=True)
class _ActionRunner:
    """Applies one action.

    Args:
        session: the session of this call.
        action: the action.
        bulk: applies the action to emails.
        bulk_action_id: the id of an action that stops emails by filters, and can be undone; None for others.
    """

    session: CliSession
    action: Action
    bulk: BulkAction
    bulk_action_id: str | None
    #: How many emails were not changed, by the reason.
    reasons: Counter[str] = field(default_factory=Counter)

    def run_on_ids(self, ids: Sequence[str], *, is_dry_run: bool) -> None:
        """Apply the action to emails given by id; the exit code reports those that were not changed."""
        if not ids:
            self.session.output.note(NO_IDS)
        with self.session.output.progress("looking up", total=lambda: len(ids)) as advance:
            selection = select_by_ids(self.session.runtime, (advance(1) or each for each in ids))
        if is_dry_run:
            outcomes = {result.outcome for result in self._show_dry_run(selection)}
        else:
            outcomes = set(self._execute(selection))
            self._note_broker_problems()
        if code := exit_code(outcomes):
            raise typer.Exit(code)

    def run_on_matches(self, filters: EmailFilter, *, is_dry_run: bool, is_confirmed: bool) -> None:
        """Apply the action to emails that match filters, after a confirmation."""
        selection = select_by_filter(self.session.runtime, self.action, filters)
        if is_dry_run:
            self._show_plan(selection, filters)
        elif is_confirmed or self._confirm_plan(selection, filters):
            tally = self._execute(selection)
            self._note_broker_problems()
            self._note_summary(tally, filters)

    def _show_dry_run(self, selection: Selection) -> Iterator[ActionResult]:
        results = self.bulk.dry_run(selection)
        return show_results(self.session.output, results, self.action, shows_all=True)

    def _show_plan(self, selection: Selection, filters: EmailFilter) -> None:
        if self.session.output.as_json:
            if not sum(1 for _ in self._show_dry_run(selection)):
                self._show_nothing(filters)
            return
        for line in self._plan_lines(self._make_plan(selection), filters):
            self.session.output.prose(line, hang=_PLAN_INDENT)

    def _show_nothing(self, filters: EmailFilter) -> None:
        """Say that the filters select no email: as a note, and as JSON if that is wanted."""
        explanation = nothing_to_do_message(self.session.runtime, self.action, filters)
        if self.session.output.as_json:
            from mailctl.views.actions import EmptySelectionView

            self.session.output.record(
                EmptySelectionView.model_validate({"action": self.action.name, "explanation": explanation})
            )
        else:
            self.session.output.note(explanation)

    def _confirm_plan(self, selection: Selection, filters: EmailFilter) -> bool:
        """Show the plan and ask; return whether there is anything to do."""
        plan = self._make_plan(selection)
        for line in self._plan_lines(plan, filters):
            self.session.output.note(line)
        if not plan.count:
            return False
        question = f"{self.action.name.capitalize()} {pluralize(plan.count, 'email')}?"
        confirm(question, is_confirmed=False, fix="Add --yes to do it, or --dry-run to only see the plan.")
        return True

    def _make_plan(self, selection: Selection) -> ActionPlan:
        engine = self.session.runtime.engine
        with self.session.output.progress("checking", total=lambda: selection.count(engine)) as advance:
            return self.bulk.plan(selection, seen=advance)

    def _plan_lines(self, plan: ActionPlan, filters: EmailFilter) -> Iterator[str]:
        if plan.count or plan.skipped_by_reason:
            return plan_lines(plan, self.action)
        return iter([nothing_to_do_message(self.session.runtime, self.action, filters)])

    def _execute(self, selection: Selection) -> Counter[ActionOutcome]:
        """Apply the action; after an interruption, print what was done and how to undo it.

        Raises:
            Exit: the operator pressed Ctrl-C; what was printed is done.
        """
        tally, is_complete = Counter[ActionOutcome](), False
        try:
            with deferred_interrupts() as interrupt, self._progress(selection) as advance:

                def is_stopped() -> bool:
                    return interrupt.is_requested

                if selection.filter is None or self.session.output.as_json:
                    self._execute_each(selection, tally, advance, is_stopped)
                else:
                    self._execute_together(selection.filter, tally, advance, is_stopped)
            is_complete = not interrupt.is_requested
        except KeyboardInterrupt:
            pass  # the second Ctrl-C: the last transaction may not be counted
        finally:
            if not is_complete:
                self._note_interruption(tally[ActionOutcome.DONE], has_ids=selection.filter is None)
        if not is_complete:
            raise typer.Exit(ExitCode.INTERRUPTED)
        return tally

    def _execute_each(
        self,
        selection: Selection,
        tally: Counter[ActionOutcome],
        advance: Callable[[int], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        results = self.bulk.execute(selection, is_stopped=is_stopped)
        has_ids = selection.filter is None
        for result in show_results(self.session.output, results, self.action, shows_all=has_ids):
            self._count(result, tally)
            advance(1)

    def _execute_together(
        self,
        filters: EmailFilter,
        tally: Counter[ActionOutcome],
        advance: Callable[[int], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        for batch in self.bulk.execute_by_filter(filters, is_stopped=is_stopped):
            if batch.done:
                tally[ActionOutcome.DONE] += batch.done
            for result in show_results(self.session.output, batch.others, self.action, shows_all=False):
                self._count(result, tally)
            advance(batch.done + len(batch.others))

    def _count(self, result: ActionResult, tally: Counter[ActionOutcome]) -> None:
        tally[result.outcome] += 1
        if result.outcome is not ActionOutcome.DONE:
            self.reasons[result.reason] += 1

    @contextmanager
    def _progress(self, selection: Selection) -> Iterator[Callable[[int], None]]:
        if selection.filter is None:
            yield lambda _: None  # a line per email shows the progress
            return
        engine = self.session.runtime.engine
        with self.session.output.progress(
            self.action.past_participle, total=lambda: selection.count(engine)
        ) as advance:
            yield advance

    def _note_interruption(self, done: int, *, has_ids: bool) -> None:
        text = f"{done:,} {self.action.past_participle}"
        if self.bulk_action_id and done:
            rest = f"undo with: {undo_command(self.action, self.bulk_action_id)}"
        elif has_ids:
            rest = "the others were not changed."
        else:
            rest = "repeat the command to continue."
        self.session.output.note(f"{text}; {rest}")

    def _note_summary(self, tally: Counter[ActionOutcome], filters: EmailFilter) -> None:
        output = self.session.output
        if not tally:
            self._show_nothing(filters)
            return
        output.note(summary(tally, self.action))
        for line in left_out_lines(self.reasons):
            output.note(line)
        if self.bulk_action_id and tally[ActionOutcome.DONE]:
            output.note(f"Undo with: {undo_command(self.action, self.bulk_action_id)}")

    def _note_broker_problems(self) -> None:
        if self.bulk.broker_error:
            self.session.output.note(
                f"{self.bulk.broker_error} The emails are sent when the broker is available again."
            )
        if self.bulk.may_still_be_sent:
            self.session.output.note(
                "No worker that shares this delivery log is alive. A worker with another log still sends "
                "the messages that are on the broker."
            )
