"""`mailctl why`: explain the state of an email."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import REFERENCE_HELP, note_others
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode
from mailctl.timefmt import format_optional_time

if TYPE_CHECKING:
    from mailctl.diagnosis.models import Diagnosis


@uses_log(AccessMode.OPTIONAL)
def why(
    session: CliSession,
    task_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help=REFERENCE_HELP,
            autocompletion=complete_id,
        ),
    ],
) -> None:
    """Explain why an email is in its current state, and what to do next.

    Collects evidence from the delivery log, the broker, the result backend and the workers. Prints the most
    likely cause first. Exits with 1 if the email has failed, with 3 if it is unknown, and with 6 if it is
    unconfirmed.

    \b
    Examples:
      mailctl why 3f2a
      mailctl why 3f2a --json

    \b
    Exit codes:
      0  The email has not failed.
      1  The email has failed.
      2  The prefix matches several emails.
      3  There is no such email.
      5  The delivery log cannot be used.
      6  The email is unconfirmed.

    \b
    See also:
      mailctl status, mailctl retry, mailctl health
    """
    from mailctl.diagnosis.status import StatusService

    service = StatusService(session.runtime)
    found = service.why(task_id)
    note_others(session, service, task_id)
    if session.output.as_json:
        from mailctl.views.diagnosis import DiagnosisView

        session.output.record(DiagnosisView.of(found))
    else:
        _show(session, found)
    if found.exit_code is not ExitCode.DONE:
        raise typer.Exit(found.exit_code)


def _show(session: CliSession, found: Diagnosis) -> None:
    from mailctl.views.diagnosis import FactsView

    output = session.output
    first, *others = found.causes
    output.state(found.state or "unknown", first.sentence)
    if first.next_step:
        output.line(f"next step  {first.next_step}")
    for number, cause in enumerate(others):
        output.line("\nalso possible" if number == 0 else "")
        output.prose(f"  {cause.sentence}", hang=2)
        if cause.next_step:
            output.line(f"  next step  {cause.next_step}")
    output.line("\nevidence")
    facts = [(name.replace("_", " "), _fact_text(value)) for name, value in FactsView.of(found)]
    output.fields([(f"  {name}", value) for name, value in (*_subject(found), *facts)])


def _subject(found: Diagnosis) -> list[tuple[str, str]]:
    """Return which email is explained; nothing for an id that the log does not have."""
    return [] if found.case is None else [("task id", found.task_id), ("to", found.case.email.to)]


def _fact_text(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "; ".join(f"{name} consumes {', '.join(queues)}" for name, queues in value.items())
            or "none alive"
        )
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return format_optional_time(value)
    return "" if value is None else str(value)
