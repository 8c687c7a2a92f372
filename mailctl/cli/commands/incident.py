"""`mailctl incident`: say what is wrong now."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ExitCode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.cli.terminal.output import Output
    from mailctl.monitoring.incident.models import Incident, IncidentProblem

#: The lines that an incident takes on a screen.
MAX_LINES = 10


@uses_log(AccessMode.READ)
def incident(
    session: CliSession,
    shows_all: Annotated[
        bool, typer.Option("--all", help="Print all problems and notes, however many lines they take.")
    ] = False,
) -> None:
    """Say what is wrong now, in at most ten lines, and how to fix it.

    Queries the delivery log, the broker and the users' database, compares all workers, and looks for paused
    queues, queues without workers, failing mail servers, errors that became more frequent, and campaigns that
    misbehave. Root causes come first. Exits with 1 if something needs fixing.

    \b
    Examples:
      mailctl incident
      mailctl incident --all

    \b
    Exit codes:
      0  Nothing needs fixing.
      1  Something needs fixing; the first line says what.
      2  A setting is invalid without which nothing can be checked.

    \b
    See also:
      mailctl errors, mailctl why, mailctl health, mailctl monitor
    """
    found = _find(session)
    if session.output.as_json:
        from mailctl.views.incident import IncidentView

        session.output.record(IncidentView.of(found))
    else:
        _show(session.output, found, max_lines=math.inf if shows_all else MAX_LINES)
    if not found.is_ok:
        raise typer.Exit(ExitCode.FAILED)


def _find(session: CliSession) -> Incident:
    from mailctl.monitoring.incident.report import find_incident
    from mailctl.runtime import open_without_log

    _ = session.settings.secret_keys  # invalid settings are an error of their own, not an incident
    with session.output.spinner("checking"):
        return find_incident(
            lambda: session.runtime, open_without_log=lambda: open_without_log(session.settings)
        )


def _show(output: Output, found: Incident, *, max_lines: float) -> None:
    if found.is_ok:
        output.state("ok  ", found.headline)
    lines_left = max_lines - int(found.is_ok)
    for number, problem in enumerate(found.problems):
        shown = list(_lines(problem))
        is_last = number == len(found.problems) - 1
        needed = sum(_height(output, line) for line in shown)
        if number and needed > lines_left - (not is_last):
            everything = mailctl_command("incident", all=True)
            output.note(f"{_describe_rest(found.problems[number:])}; see all: {everything}")
            return
        lines_left -= needed
        state, *more = shown
        output.state("fail" if problem.is_failure else "note", state)
        for line in more:
            output.fix(line, indent="      -> ")


def _describe_rest(problems: Sequence[IncidentProblem]) -> str:
    """Return how many problems and notes there are that are not shown."""
    failures = sum(problem.is_failure for problem in problems)
    counts = ((failures, "more problem"), (len(problems) - failures, "more note"))
    return " and ".join(pluralize(count, noun) for count, noun in counts if count)


def _lines(problem: IncidentProblem) -> Iterator[str]:
    yield str(problem)
    if problem.fix:
        yield problem.fix


def _height(output: Output, text: str) -> int:
    """Return how many lines of the terminal a text takes, with its indentation."""
    if output.width is None or len(text) + 10 <= output.width:
        return 1
    return -(-(len(text) + 10) // max(20, output.width - 10)) + text.count(": mailctl ")
