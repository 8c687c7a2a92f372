"""The circuit breaker postpones emails while the mail server fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from mailctl.domain.models import Outcome, OutcomeKind, SmtpReply
from mailctl.worker.circuit_breaker import CircuitBreaker
from tests.emails import utc_now
from tests.unit.worker.fakes import Calls

DOWN = Outcome(kind=OutcomeKind.DEFERRED, stage="connect", reply=SmtpReply(text="refused"))
SENT = Outcome(kind=OutcomeKind.ACCEPTED)


class Circuit(SimpleNamespace):
    """A circuit whose text is the reason of a postponement."""

    def __str__(self) -> str:
        return "the mail server does not work"


def open_circuit() -> Any:
    return Circuit(is_open=True, probe_at=datetime.now(UTC) + timedelta(hours=1))


def test_an_open_circuit_postpones_an_email_until_the_probe() -> None:
    """The reason is returned."""
    circuit = open_circuit()
    circuits = Calls(read=circuit, acquire_probe=False, postpone_email=True)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.postpone_if_open("a") == "the mail server does not work"
    postponed = {"until": circuit.probe_at, "reason": "the mail server does not work"}
    assert circuits.calls[-1] == ("postpone_email", ("a",), postponed)


def test_the_probe_and_a_missing_email_are_not_postponed() -> None:
    """Nor is any email while the circuit is closed."""
    probe = Calls(read=open_circuit(), acquire_probe=True)
    missing = Calls(read=open_circuit(), acquire_probe=False, postpone_email=False)
    for circuits in (None, Calls(read=None), probe, missing):
        breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
        assert breaker.postpone_if_open("a") == ""


def test_a_failure_of_the_server_is_recorded() -> None:
    """The circuit is returned, because it says when to retry."""
    circuit = open_circuit()
    circuits = Calls(record_failure=circuit)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.record_outcome(DOWN) is circuit
    assert circuits.calls == [("record_failure", ("at connect: refused",), {"stage": "connect"})]


def test_a_success_closes_the_circuit_and_releases_the_postponed_emails() -> None:
    """Once."""
    circuits = Calls(read=[open_circuit(), None], record_success=3)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert [breaker.record_outcome(SENT), breaker.record_outcome(SENT)] == [None, None]
    assert circuits.names.count("record_success") == 1


def test_an_ambiguous_outcome_proves_nothing() -> None:
    """The circuit is not even read."""
    circuits = Calls()
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.record_outcome(Outcome(kind=OutcomeKind.AMBIGUOUS, stage="body")) is None
    assert circuits.calls == []


def test_without_circuits_nothing_is_recorded() -> None:
    """Captured emails need no mail server."""
    assert CircuitBreaker(None, clock=utc_now).record_outcome(DOWN) is None
