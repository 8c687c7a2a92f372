"""`mailctl workers`: who works, and making them stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from mailctl.monitoring.workers import WorkerStatus

app = CommandGroup("workers", "Who works; without a command: `list`.", default="list")

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Node names, as listed.")
]


@uses_log(AccessMode.READ)
def list_workers(session: CliSession) -> None:
    """List the workers: alive, host, pid, pool, queues, busy, throughput, since."""
    from mailctl.monitoring.workers import WorkerService

    session.allow_missing_log()
    roll = WorkerService(session.runtime).list_workers()
    if session.output.as_json:
        from mailctl.views.workers import WorkerView

        for member in roll.workers:
            session.output.record(WorkerView.of(member))
    elif roll.workers:
        columns = ["worker", "pid", "pool", "queues", "busy", "1 min", "5 min", "since", "answers"]
        session.output.table(columns, [_row(member) for member in roll.workers])
    if not roll.workers and not roll.broker_error:
        session.output.note(f"No worker is alive. Start one: {mailctl_command('worker')}")
    if roll.broker_error:
        raise roll.broker_error


@uses_log(AccessMode.READ)
def ping(session: CliSession, names: NamesArgument = None) -> None:
    """Ask workers for a sign of life; exit 1 if one gives no answer."""
    from mailctl.monitoring.workers import PingResult, WorkerService

    session.allow_missing_log()
    answers = WorkerService(session.runtime).ping(names or ())
    for name, answer in answers.items():
        if session.output.as_json:
            from mailctl.views.workers import WorkerPingView

            session.output.record(WorkerPingView(worker=name, answers=answer is PingResult.ANSWERED))
        else:
            session.output.line(f"{name}  {'answers' if answer is PingResult.ANSWERED else answer}")
    if PingResult.NO_ANSWER in answers.values():
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.READ)
def stop(
    session: CliSession,
    names: NamesArgument = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Tell workers to finish what they have in hand and stop; all of them where none is named."""
    from mailctl.monitoring.workers import WorkerService

    session.allow_missing_log()
    workforce = WorkerService(session.runtime)
    wanted = names or list(workforce.ping())
    confirm(f"Stop {', '.join(wanted)}?", is_sure=yes)
    told = workforce.stop(wanted)
    for each in told:
        if session.output.as_json:
            from mailctl.views.workers import WorkerStopView

            session.output.record(WorkerStopView.of(each))
        else:
            session.output.line(f"{each.name}  {each.detail}")
    if not all(each.is_requested for each in told):
        raise typer.Exit(ExitCode.FAILED)


app.add("list", list_workers)
app.add("ping", ping)
app.add("stop", stop)


def _row(member: WorkerStatus) -> list[str]:
    from mailctl.timefmt import format_duration

    throughput = member.throughput
    pool = " ".join(str(part) for part in (member.pool, member.concurrency) if part)
    return [
        member.name,
        str(member.pid or ""),
        pool,
        ", ".join(member.queues),
        "" if member.busy is None else str(member.busy),
        str(throughput.last_minute) if throughput else "",
        str(throughput.last_five_minutes) if throughput else "",
        format_duration(datetime.now(UTC) - member.since) if member.since else "",
        member.answer if member.shares_log else f"{member.answer}; another log",
    ]
