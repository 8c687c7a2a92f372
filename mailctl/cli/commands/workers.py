"""`mailctl workers`: who works, and making them stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import Session, uses_log
from mailctl.cli.lazy_commands import Commands
from mailctl.cli.terminal.confirm import confirm
from mailctl.cli.views import time_view
from mailctl.command import mailctl
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.monitoring.workers import Member

app = Commands("workers", "Who works; without a command: `list`.", default="list")

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Node names, as listed.")]


@uses_log(LogMode.READ)
def list_workers(session: Session) -> None:
    """List the workers: alive, host, pid, pool, queues, busy, throughput, since."""
    from mailctl.monitoring.workers import Workforce

    session.prefer_broker()
    roll = Workforce(session.runtime).roll()
    if session.output.as_json:
        for member in roll.members:
            session.output.record(member_view(member))
    elif roll.members:
        columns = ["worker", "pid", "pool", "queues", "busy", "1 min", "5 min", "since", "answers"]
        session.output.table(columns, [_row(member) for member in roll.members])
    if not roll.members and not roll.trouble:
        session.output.note(f"No worker is alive. Start one: {mailctl('worker')}")
    if roll.trouble:
        raise roll.trouble


@uses_log(LogMode.READ)
def ping(session: Session, names: Names = None) -> None:
    """Ask workers for a sign of life; exit 1 if one gives no answer."""
    from mailctl.monitoring.workers import Answer, Workforce

    session.prefer_broker()
    answers = Workforce(session.runtime).ping(names or ())
    for name, answer in answers.items():
        if session.output.as_json:
            session.output.record({"worker": name, "answers": answer is Answer.YES})
        else:
            session.output.line(f"{name}  {'answers' if answer is Answer.YES else answer}")
    if Answer.NONE in answers.values():
        raise typer.Exit(ExitCode.FAILED)


@uses_log(LogMode.READ)
def stop(
    session: Session,
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Tell workers to finish what they have in hand and stop; all of them where none is named."""
    from mailctl.monitoring.workers import Workforce

    session.prefer_broker()
    workforce = Workforce(session.runtime)
    wanted = names or list(workforce.ping())
    confirm(f"Stop {', '.join(wanted)}?", is_sure=yes)
    told = workforce.stop(wanted)
    for each in told:
        if session.output.as_json:
            session.output.record({"worker": each.name, "told": each.is_told, "detail": each.detail})
        else:
            session.output.line(f"{each.name}  {each.detail}")
    if not all(each.is_told for each in told):
        raise typer.Exit(ExitCode.FAILED)


app.add("list", list_workers)
app.add("ping", ping)
app.add("stop", stop)


def member_view(member: Member) -> dict[str, Any]:
    """Return a worker; what it does not tell is null."""
    throughput = member.throughput
    return {
        "worker": member.name,
        "host": member.host,
        "pid": member.pid,
        "pool": member.pool,
        "concurrency": member.concurrency,
        "queues": list(member.queues),
        "busy": member.busy,
        "sent_last_minute": throughput.last_minute if throughput else None,
        "sent_last_five_minutes": throughput.last_five_minutes if throughput else None,
        "since": time_view(member.since),
        "shares_log": member.shares_log,
        "answers": member.answer,
    }


def _row(member: Member) -> list[str]:
    from mailctl.timefmt import span

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
        span(datetime.now(UTC) - member.since) if member.since else "",
        member.answer if member.shares_log else f"{member.answer}; another log",
    ]
