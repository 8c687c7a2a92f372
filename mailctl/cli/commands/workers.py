"""`mailctl workers`: list, ping and stop workers."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import LayoutOptions, YesOption, with_options
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.cli.terminal.output import Output
    from mailctl.monitoring.worker_comparison import Difference
    from mailctl.monitoring.worker_signals import StopResult
    from mailctl.monitoring.workers import DeadWorker, PingResult, WorkerStatus
    from mailctl.views.workers import (
        DeadWorkerView,
        WorkerDifferenceView,
        WorkerPingView,
        WorkerStopView,
        WorkerView,
    )

app = CommandGroup("workers", "List, compare, ping and stop workers (default: list).", default="list")

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Node names, as `mailctl workers list` shows them; default: all workers."
    ),
]
_COLUMNS = [
    *("worker", "pid", "pool", "queues", "sending", "1 min", "5 min", "since", "answers"),
    *("version", "key", "mail server", "clock", "problem"),
]
_DEAD_COLUMNS = ["dead worker", "host", "pid", "last seen", "sending", "lease until", "queues"]
#: Characters of the fingerprint of a key that are shown.
_SHOWN_KEY_LENGTH = 6


@uses_log(AccessMode.READ)
@with_options
def list_workers(
    session: CliSession,
    layout: LayoutOptions,
    dead: Annotated[
        bool, typer.Option("--dead", help="List only the workers that died within the last hour.")
    ] = False,
) -> None:
    """List the workers with queues, load and throughput.

    Shows the emails that each worker is sending and has sent in the last 1 and 5 minutes; its version
    of mailctl, a fingerprint of its SECRET_KEY, its mail server, and by how much its clock is off. Below them
    are the workers that died recently: when each was last seen, and how many emails it was sending.

    \b
    Examples:
      mailctl workers
      mailctl workers list --json

    \b
    Exit codes:
      0  The workers were printed, if there are any.
      3  There is no delivery log.
      5  The broker (the log's workers are shown) or the log cannot be used.

    \b
    See also:
      mailctl workers ping, mailctl worker, mailctl queue list
    """
    from mailctl.monitoring.workers import WorkerService

    layout.apply_to(session, "workers:DeadWorkerView" if dead else "workers:WorkerView")
    session.allow_missing_log()
    if dead:
        _show_dead(session, WorkerService(session.runtime).list_dead())
        return
    found = WorkerService(session.runtime).list_workers()
    if found.workers or session.output.layout is not None:
        session.output.listing(map(_view, found.workers), columns=_COLUMNS, rows=map(_row, found.workers))
    can_be_continued = any(worker.is_suspended for worker in found.dead)
    if not found.workers and not found.broker_error and not can_be_continued:
        session.output.note(f"No worker is alive. Start one: {mailctl_command('worker')}")
    if found.dead and not session.output.as_json and session.output.layout is None:
        session.output.line()
        _show_dead(session, found.dead)
    for problem in found.problems:
        session.output.note(f"{problem[:1].upper()}{problem[1:]}.")
    if found.broker_error:
        raise found.broker_error


@uses_log(AccessMode.READ)
@with_options
def diff(session: CliSession, layout: LayoutOptions) -> None:
    """Compare the live workers, and show only what differs.

    Compares version, key, delivery log, mail server, clock, pool, queues and settings. Of keys and settings
    only fingerprints are shown.

    \b
    Examples:
      mailctl workers diff
      mailctl workers diff --json

    \b
    Exit codes:
      0  Nothing differs, or no worker is alive.
      1  Something differs.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl workers list, mailctl incident, mailctl health
    """
    from mailctl.monitoring.worker_comparison import THIS_PROCESS, compare_workers

    layout.apply_to(session, "workers:WorkerDifferenceView")
    workers = session.runtime.workers.list_alive()
    found = compare_workers(workers, session.runtime.identity)
    names = [*(worker.name for worker in workers), THIS_PROCESS]
    rows = ([each.subject, *(each.values.get(name, "") for name in names)] for each in found)
    session.output.listing(map(_difference_view, found), columns=["", *names], rows=rows)
    if not workers:
        session.output.note(f"No worker is alive. Start one: {mailctl_command('worker')}")
    elif not found:
        session.output.note("Nothing differs.")
    if found:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.READ)
def ping(session: CliSession, names: NamesArgument = None) -> None:
    """Ping workers; exit with 1 if one does not answer.

    \b
    Examples:
      mailctl workers ping
      mailctl workers ping celery@mail-1

    \b
    Exit codes:
      0  All workers answered.
      1  A worker did not answer.
      3  There is no such worker, or none is running.
      5  The broker or the delivery log cannot be used.

    \b
    See also:
      mailctl workers list, mailctl health
    """
    from mailctl.monitoring.workers import PingResult, WorkerService

    session.allow_missing_log()
    answers = WorkerService(session.runtime).ping(names or ())
    for name, answer in answers.items():
        _show_answer(session.output, name, answer)
    if PingResult.NO_ANSWER in answers.values():
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.READ)
def stop(
    session: CliSession,
    names: NamesArgument = None,
    yes: YesOption = False,
) -> None:
    """Stop workers once they have finished the emails that they are sending.

    \b
    Examples:
      mailctl workers stop
      mailctl workers stop celery@mail-1 --yes

    \b
    Exit codes:
      0  All workers were asked to stop.
      1  A worker cannot be stopped; the reason is printed.
      3  There is no such worker, or none is running.
      4  You did not confirm.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl workers list, mailctl worker
    """
    from mailctl.monitoring.workers import WorkerService

    session.allow_missing_log()
    service = WorkerService(session.runtime)
    chosen = list(service.ping(names or ()))
    confirm(f"Stop {', '.join(chosen)}?", is_confirmed=yes)
    results = service.stop(chosen)
    for result in results:
        _show_stopped(session.output, result)
    if not all(result.is_requested for result in results):
        raise typer.Exit(ExitCode.FAILED)


app.add("list", list_workers)
app.add("diff", diff)
app.add("ping", ping)
app.add("stop", stop)


def _show_dead(session: CliSession, workers: Sequence[DeadWorker]) -> None:
    session.output.listing(map(_dead_view, workers), columns=_DEAD_COLUMNS, rows=map(_dead_row, workers))
    if not workers:
        session.output.note("No worker has died within the last hour.")


def _dead_row(worker: DeadWorker) -> list[str]:
    from mailctl.timefmt import TimeStyle, format_duration, format_time

    silence = format_duration(datetime.now(UTC) - worker.seen_at)
    return [
        worker.name,
        worker.host,
        str(worker.pid),
        f"{format_time(worker.seen_at, TimeStyle.CLOCK)} ({silence} ago)",
        str(worker.held or ""),
        format_time(worker.lease_until, TimeStyle.CLOCK) if worker.lease_until else "",
        ", ".join(worker.queues),
    ]


def _dead_view(worker: DeadWorker) -> DeadWorkerView:
    from mailctl.views.workers import DeadWorkerView

    return DeadWorkerView.of(worker)


def _difference_view(difference: Difference) -> WorkerDifferenceView:
    from mailctl.views.workers import WorkerDifferenceView

    return WorkerDifferenceView.of(difference)


def _show_answer(output: Output, name: str, answer: PingResult) -> None:
    from mailctl.monitoring.workers import PingResult

    has_answered = answer is PingResult.ANSWERED
    output.result(
        partial(_ping_view, name, has_answered=has_answered),
        f"{name}  {'answers' if has_answered else answer}",
    )


def _show_stopped(output: Output, result: StopResult) -> None:
    output.result(partial(_stop_view, result), f"{result.name}  {result.detail}")


def _view(worker: WorkerStatus) -> WorkerView:
    from mailctl.views.workers import WorkerView

    return WorkerView.of(worker)


def _ping_view(name: str, *, has_answered: bool) -> WorkerPingView:
    from mailctl.views.workers import WorkerPingView

    return WorkerPingView(worker=name, answers=has_answered)


def _stop_view(result: StopResult) -> WorkerStopView:
    from mailctl.views.workers import WorkerStopView

    return WorkerStopView.of(result)


def _row(worker: WorkerStatus) -> list[str]:
    from mailctl.timefmt import format_duration

    throughput = worker.throughput
    pool = " ".join(str(part) for part in (worker.pool, worker.concurrency) if part)
    return [
        worker.name,
        str(worker.pid or ""),
        pool,
        ", ".join(worker.queues),
        "" if worker.busy is None else str(worker.busy),
        str(throughput.last_minute) if throughput else "",
        str(throughput.last_five_minutes) if throughput else "",
        format_duration(datetime.now(UTC) - worker.since) if worker.since else "",
        worker.answer if worker.shares_log else f"{worker.answer}; another log",
        *_identity_cells(worker),
        "; ".join(worker.problems),
    ]


def _identity_cells(worker: WorkerStatus) -> list[str]:
    """Return the version, the key, the mail server and the clock of a worker, as far as they are known."""
    identity, skew = worker.identity, worker.clock_skew
    clock = "" if skew is None else f"{skew:+.1f} s"
    if identity is None:
        return ["", "", "", clock]
    key = identity.keys[0][:_SHOWN_KEY_LENGTH]
    return [identity.version, key, identity.mail_server or "captured", clock]
