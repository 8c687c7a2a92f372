"""Diagnoses: the causes, and the facts that they were derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from mailctl.diagnosis.models import Certainty
from mailctl.domain.states import State
from mailctl.views.base import Timestamp, View, round_figure

if TYPE_CHECKING:
    from mailctl.broker.messages import MessageSearchResult
    from mailctl.diagnosis.models import Case, Cause, Diagnosis, UnknownId


class CauseView(View):
    """One reason why an email is in its state."""

    cause: str = Field(
        description="A stable name of the cause, for programs.", json_schema_extra={"pattern": "^[a-z_]+$"}
    )
    sentence: str
    next_step: str | None = Field(description="A command to run; null if there is nothing to do.")
    certainty: Certainty

    @classmethod
    def of(cls, cause: Cause) -> CauseView:
        """Return the view of a cause."""
        return cls(
            cause=cause.name,
            sentence=cause.sentence,
            next_step=str(cause.next_step) if cause.next_step else None,
            certainty=cause.certainty,
        )


class FactsView(View):
    """The facts of a diagnosis, in the order in which they are shown; null if they were not determined."""

    log: str | None = Field(default=None, description="The URL of the delivery log, without its password.")
    log_is_empty: bool | None = None
    other_homes: list[str] | None = Field(
        default=None, description="Other MAILCTL_HOME directories whose delivery log has the email."
    )
    kind: str | None = None
    queue: str | None = None
    attempts: int | None = None
    created_at: Timestamp | None = None
    queued_at: Timestamp | None = None
    next_attempt_at: Timestamp | None = None
    lease_until: Timestamp | None = None
    worker: str | None = None
    error: str | None = None
    celery_state: str | None = None
    workers: dict[str, list[str]] | None = Field(
        default=None, description="The queues that each live worker consumes, by worker."
    )
    broker: str | None = Field(default=None, description="Whether the broker answers.")
    on_broker: str | None = Field(default=None, description="Where the message is on the broker.")
    ahead: int | None = Field(default=None, description="Emails of the same queue that will be sent first.")
    out_per_minute: float | None = None
    circuit: str | None = Field(
        default=None, description="Why the circuit breaker is open; null if it is closed."
    )
    paused: list[str] | None = Field(default=None, description="The pauses that apply to the email.")

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> FactsView:
        """Return the facts of a diagnosis."""
        facts: dict[str, Any] = {"log": diagnosis.log}
        if diagnosis.case is not None:
            facts |= _case_facts(diagnosis.case)
        if diagnosis.unknown is not None:
            facts |= _unknown_id_facts(diagnosis.unknown)
        return cls(**facts)


class DiagnosisView(View):
    """Why an email is in its state; the most likely cause is first."""

    task_id: str
    state: State | None
    causes: list[CauseView] = Field(json_schema_extra={"minItems": 1})
    facts: FactsView

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> DiagnosisView:
        """Return the view of a diagnosis."""
        return cls(
            task_id=diagnosis.task_id,
            state=diagnosis.state,
            causes=[CauseView.of(cause) for cause in diagnosis.causes],
            facts=FactsView.of(diagnosis),
        )


def _case_facts(case: Case) -> dict[str, Any]:
    email, evidence = case.email, case.evidence
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
        "workers": None if email.is_final else _queues_by_worker(case),
        "broker": _broker_text(
            is_in_memory=evidence.is_in_memory, error=evidence.broker_error, was_asked=bool(evidence.search)
        ),
        "on_broker": _position_text(evidence.search),
        "ahead": evidence.emails_ahead,
        "out_per_minute": round_figure(evidence.attempts_per_minute) if evidence.emails_ahead else None,
        "circuit": str(evidence.circuit) if evidence.circuit else None,
        "paused": [f"{pause.scope} {pause.name}" for pause in evidence.pauses],
    }


def _unknown_id_facts(unknown: UnknownId) -> dict[str, Any]:
    return {
        "log_is_empty": None if unknown.is_log_missing else unknown.is_log_empty,
        "other_homes": [str(home) for home in unknown.other_homes],
        "celery_state": unknown.result.state if unknown.result else None,
        "broker": _broker_text(is_in_memory=unknown.is_in_memory, error=unknown.broker_error, was_asked=True),
        "on_broker": _position_text(unknown.search),
    }


def _queues_by_worker(case: Case) -> dict[str, list[str]]:
    return {name: list(queues) for name, queues in case.evidence.queues_by_worker.items()}


def _broker_text(*, is_in_memory: bool, error: str, was_asked: bool) -> str | None:
    if is_in_memory:
        return "in memory"
    return error or ("answers" if was_asked else None)


def _position_text(search: MessageSearchResult | None) -> str | None:
    if search is None:
        return None
    if search.position is None:
        return "not found"
    ahead = search.position.ahead
    return "with a worker" if ahead is None else f"number {ahead + 1}"
