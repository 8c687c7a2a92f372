"""`mailctl why`: one diagnosis from evidence."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.views import time_view
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode
from mailctl.timefmt import format_optional_time

if TYPE_CHECKING:
    from mailctl.diagnosis import Case, Cause, Diagnosis, UnknownId


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
        session.output.record(diagnosis_view(found))
    else:
        _show(session, found)
    if not found.is_known:
        raise typer.Exit(ExitCode.NOT_FOUND)
    if found.has_failed:
        raise typer.Exit(ExitCode.FAILED)


def diagnosis_view(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis with the facts that were looked at; what nobody looked for is null."""
    return {
        "task_id": found.task_id,
        "state": found.state,
        "causes": [_cause_view(cause) for cause in found.causes],
        "facts": {
            name: time_view(fact) if isinstance(fact, datetime) else fact
            for name, fact in _facts(found).items()
        },
    }


def _cause_view(cause: Cause) -> dict[str, Any]:
    return {
        "cause": cause.name,
        "sentence": cause.sentence,
        "next_step": str(cause.next_step) if cause.next_step else None,
        "certainty": cause.certainty,
    }


def _facts(found: Diagnosis) -> dict[str, Any]:
    facts = dict.fromkeys(_FACT_NAMES)
    facts["log"] = found.log
    if found.case is not None:
        facts |= _facts_of_case(found.case)
    if found.unknown is not None:
        facts |= _facts_of_unknown(found.unknown)
    return facts


def _facts_of_case(case: Case) -> dict[str, Any]:
    email, evidence = case.email, case.evidence
    place = evidence.search.position if evidence.search else None
    circuit = evidence.circuit
    return {
        "kind": email.kind,
        "queue": email.queue,
        "attempts": email.attempts,
        "created_at": email.created_at,
        "queued_at": email.queued_at,
        "next_attempt_at": email.next_attempt_at,
        "lease_until": email.lease_until,
        "worker": email.worker,
        "error": email.error,
        "workers": None
        if email.is_final
        else {name: list(found) for name, found in evidence.queues_by_worker.items()},
        "broker": _broker_text(case),
        "on_broker": _place_text(place.ahead if place else None, is_there=place is not None)
        if evidence.search
        else None,
        "ahead": evidence.emails_ahead,
        "out_per_minute": round(evidence.attempts_per_minute, 2) if evidence.emails_ahead else None,
        "circuit": str(circuit) if circuit else None,
        "paused": [f"{pause.scope} {pause.name}" for pause in evidence.pauses],
    }


def _facts_of_unknown(unknown: UnknownId) -> dict[str, Any]:
    place = unknown.search.position if unknown.search else None
    return {
        "log_is_empty": unknown.is_log_empty,
        "other_homes": [str(home) for home in unknown.other_homes],
        "celery_state": unknown.result.state if unknown.result else None,
        "broker": "in memory" if unknown.is_in_memory else unknown.broker_error or "answers",
        "on_broker": _place_text(place.ahead if place else None, is_there=place is not None)
        if unknown.search
        else None,
    }


def _broker_text(case: Case) -> str | None:
    evidence = case.evidence
    if evidence.is_in_memory:
        return "in memory"
    if evidence.broker_error:
        return evidence.broker_error
    return "answers" if evidence.search else None


def _place_text(ahead: int | None, *, is_there: bool) -> str:
    if not is_there:
        return "not found"
    return "with a worker" if ahead is None else f"number {ahead + 1}"


def _show(session: CliSession, found: Diagnosis) -> None:
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
    output.fields(
        [(f"  {name.replace('_', ' ')}", _fact_text(value)) for name, value in _facts(found).items()]
    )


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


#: The facts that any diagnosis has, in the order in which people read them.
_FACT_NAMES = (
    "log",
    "log_is_empty",
    "other_homes",
    "kind",
    "queue",
    "attempts",
    "created_at",
    "queued_at",
    "next_attempt_at",
    "lease_until",
    "worker",
    "error",
    "celery_state",
    "workers",
    "broker",
    "on_broker",
    "ahead",
    "out_per_minute",
    "circuit",
    "paused",
)
