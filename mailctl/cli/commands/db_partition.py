"""`mailctl db partition`: partitions of the delivery log by time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import YesOption
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.partition_actions import PartitionAction
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.delivery_log.storage.partitions.planning import PartitionPlan
    from mailctl.operations.partitioning import Partitioning
    from mailctl.views.maintenance import PartitionView

_MEGABYTE = 1_000_000


@uses_log(AccessMode.UPDATE)
def partition(
    session: CliSession,
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="DURATION",
            help="The time of one partition, in whole days; default: 7d, or that of the log.",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Convert the log back to tables without partitions.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done without doing it.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Partition a delivery log on PostgreSQL by time.

    `mailctl prune` then drops a partition as a whole when all emails in it are old, instead of deleting each
    email. Workers create the partitions of the next days. Emails whose ids come from other programs, such as
    Celery's, are in partitions of their own without days, and are deleted one by one.

    The tables are copied in small steps, which temporarily needs as much disk space again; workers and
    services can keep running. The command can be interrupted and repeated. A log that is partitioned already
    gets the partitions that are missing.

    \b
    Examples:
      mailctl db partition --dry-run
      mailctl db partition --every 1d --yes
      mailctl db partition --undo

    \b
    Exit codes:
      0  The log has the partitions; with --undo: it has none.
      2  The log is on SQLite, or its tables belong to another database user.
      3  There is no delivery log.
      4  You did not confirm, the partitions differ in length, or the log is busy.
      5  The database cannot be reached.

    \b
    See also:
      mailctl prune, mailctl db current, mailctl check-config
    """
    from mailctl.operations.partitioning import Partitioning
    from mailctl.timefmt import parse_duration

    time = None if every is None else parse_duration(every, field="--every")
    partitioning = Partitioning(session.settings, every=time, is_undo=undo, is_dry_run=dry_run)
    plan = partitioning.plan()
    if not dry_run:
        if plan.is_large:
            confirm(f"{_describe(plan)}?", is_confirmed=yes)
        _run(session.output, partitioning, plan)
    session.output.result(partial(_view, plan, dry_run=dry_run), _result(plan, dry_run=dry_run))


def _run(output: Output, partitioning: Partitioning, plan: PartitionPlan) -> None:
    with output.spinner("beginning") as update:
        try:
            for progress in partitioning.run(plan):
                of = "" if progress.total is None else f" of {progress.total:,}"
                update(f"{progress.step}: {progress.done:,}{of}")
        except KeyboardInterrupt:
            output.note("The log works as before; repeat the command to continue, or discard it with --undo.")
            raise


def _result(plan: PartitionPlan, *, dry_run: bool) -> str:
    if dry_run and plan.action is not PartitionAction.NOTHING:
        return f"would {_describe(plan)[0].lower()}{_describe(plan)[1:]}"
    return _OUTCOMES[plan.action].format(days=pluralize(plan.days or 0, "day"), number=len(plan.ranges))


def _describe(plan: PartitionPlan) -> str:
    """Return what a plan is, as a clause that begins with a verb in the imperative."""
    size = f"about {pluralize(plan.rows, 'row')} ({plan.bytes / _MEGABYTE:,.0f} MB)"
    verb = "Continue to copy" if plan.is_begun else "Copy"
    return {
        PartitionAction.CONVERT: f"{verb} {size} into partitions of {pluralize(plan.days or 0, 'day')}",
        PartitionAction.UNDO: f"{verb} {size} into tables without partitions",
        PartitionAction.CREATE: f"Create {pluralize(len(plan.ranges), 'missing partition')}",
        PartitionAction.DISCARD: "Discard the unfinished conversion",
        PartitionAction.NOTHING: "Do nothing",
    }[plan.action]


_OUTCOMES = {
    PartitionAction.CONVERT: "the delivery log has partitions of {days}",
    PartitionAction.UNDO: "the delivery log has no partitions any more",
    PartitionAction.CREATE: "the delivery log has partitions of {days}; missing partitions created: {number}",
    PartitionAction.DISCARD: "the unfinished conversion is discarded; the delivery log is as it was",
    PartitionAction.NOTHING: "the delivery log has no partitions",
}


def _view(plan: PartitionPlan, *, dry_run: bool) -> PartitionView:
    from mailctl.views.maintenance import PartitionView

    return PartitionView.of(plan, dry_run=dry_run)
