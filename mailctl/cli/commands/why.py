"""`mailctl why`: one diagnosis from evidence."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode
from mailctl.timefmt import format_optional_time

if TYPE_CHECKING:
    from mailctl.diagnosis import Diagnosis


@uses_log(AccessMode.OPTIONAL)
def why(
    session: CliSession,
    task_id: Annotated[
        str, typer.Argument(metavar="TASK_ID", help="The id, a unique start of it, or an idempotency key.")
    ],
) -> None:
    """Tell why an email is where it is, and what to do next: the most likely cause first."""
    from mailctl.diagnosis.status import StatusService

    found = StatusService(session.runtime).why(task_id)
    if session.output.as_json:
        from mailctl.views.diagnosis import DiagnosisView

        session.output.record(DiagnosisView.of(found))
    else:
        _show(session, found)
    if not found.is_known:
        raise typer.Exit(ExitCode.NOT_FOUND)
    if found.has_failed:
        raise typer.Exit(ExitCode.FAILED)


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
    output.line("\nlooked at")
    output.fields([(f"  {name.replace('_', ' ')}", _fact_text(value)) for name, value in FactsView.of(found)])


def _fact_text(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "; ".join(f"{name} takes {', '.join(queues)}" for name, queues in value.items()) or "none alive"
        )
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return format_optional_time(value)
    return "" if value is None else str(value)
