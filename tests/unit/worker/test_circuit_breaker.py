"""The circuit breaker postpones emails while the mail server fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.smtp.classify import classify_reply
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
    soon = datetime.now(UTC) + timedelta(hours=1)
    return Circuit(is_open=True, probe_at=soon, is_about_emails=False, has_just_opened=False)


def refusing_circuit() -> Any:
    """Return the open circuit of a server that answers, but refuses every email."""
    circuit = open_circuit()
    circuit.is_about_emails = True
    return circuit


def test_an_open_circuit_postpones_an_email_until_the_probe() -> None:
    """The reason is returned."""
    circuit = open_circuit()
    circuits = Calls(read=circuit, acquire_probe=False, postpone_email=True)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.postpone_if_open("a") == "the mail server does not work"
    reason = "the mail server does not work"
    postponed = {"until": circuit.probe_at, "reason": reason, "route": None, "servers": ()}
    assert circuits.calls[-1] == ("postpone_email", ("a",), postponed)


def test_a_circuit_that_has_closed_is_read_again_at_once() -> None:
    """The next email is not postponed in vain."""
    circuits = Calls(read=[open_circuit(), None], acquire_probe=False, postpone_email=False)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert [breaker.postpone_if_open("a"), breaker.postpone_if_open("b")] == ["", ""]
    assert circuits.names == ["read", "acquire_probe", "postpone_email", "read"]


class ClosingCircuits(Calls):
    """Circuits that another thread of the process closes after each call."""

    breaker: CircuitBreaker

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)

        def call_and_close(*args: Any, **kwargs: Any) -> Any:
            answer = call(*args, **kwargs)
            self.breaker._circuit = None
            return answer

        return call_and_close


def test_another_thread_may_close_the_circuit_at_any_time() -> None:
    """What this thread does with it ends as it began: an outcome must not be lost by that."""
    circuits = ClosingCircuits(
        read=open_circuit(), record_failure=open_circuit(), acquire_probe=False, postpone_email=True
    )
    breaker = circuits.breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.postpone_if_open("a") == "the mail server does not work"
    assert breaker.record_outcome(DOWN) is circuits.answers["record_failure"]


def test_the_probe_and_a_missing_email_are_not_postponed() -> None:
    """Nor is any email while the circuit is closed."""
    probe = Calls(read=open_circuit(), acquire_probe=True)
    missing = Calls(read=open_circuit(), acquire_probe=False, postpone_email=False)
    for circuits in (None, Calls(read=None), probe, missing):
        breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
        assert breaker.postpone_if_open("a") == ""


@pytest.mark.parametrize("kind", [OutcomeKind.AMBIGUOUS, OutcomeKind.INTERRUPTED])
def test_an_attempt_without_a_reply_leaves_the_circuit_as_it_is(kind: OutcomeKind) -> None:
    """It proves neither that the server works nor that it does not."""
    circuits = Calls(read=open_circuit())
    assert CircuitBreaker(circuits, clock=utc_now).record_outcome(Outcome(kind=kind)) is None  # type: ignore[arg-type]
    assert circuits.calls == []


def test_a_failure_of_the_server_is_recorded() -> None:
    """The circuit is returned, because it says when to retry."""
    circuit = open_circuit()
    circuits = Calls(record_failure=circuit)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.record_outcome(DOWN) is circuit
    what = {"stage": "connect", "category": None, "opens_at_once": False}
    assert circuits.calls == [("record_failure", ("refused",), what)]


def test_a_used_up_quota_opens_the_circuit_at_once() -> None:
    """It does not come back with the next email."""
    circuits = Calls(record_failure=open_circuit())
    outcome = classify_reply(550, "5.4.5 Daily sending quota exceeded", stage="body")
    CircuitBreaker(circuits, clock=utc_now).record_outcome(outcome)  # type: ignore[arg-type]
    [(_, _, what)] = circuits.calls
    assert what == {"stage": "body", "category": ReplyCategory.QUOTA, "opens_at_once": True}


def test_the_circuit_is_reported_by_the_process_whose_failure_opened_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One alarm, however many workers fail."""
    opened, known = open_circuit(), open_circuit()
    opened.has_just_opened = True
    circuits = Calls(record_failure=[known, opened, known])
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    for _ in range(3):
        breaker.record_outcome(DOWN)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("text", ["5.1.1 no such user", "4.7.1 greylisted"])
def test_only_an_accepted_email_proves_that_emails_are_accepted(text: str) -> None:
    """What is said of one recipient closes no circuit that was opened for all."""
    circuits = Calls(read=[refusing_circuit(), None], record_success=3)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    code = 550 if text.startswith("5") else 451
    assert breaker.record_outcome(classify_reply(code, text, stage="rcpt")) is None
    assert circuits.names.count("record_success") == 0
    breaker.record_outcome(SENT)
    assert circuits.names.count("record_success") == 1


def test_a_probe_that_is_refused_alike_keeps_the_circuit_open() -> None:
    """The next probe comes later."""
    circuit = refusing_circuit()
    circuits = Calls(read=circuit, record_failure=circuit)
    breaker = CircuitBreaker(circuits, clock=utc_now)  # type: ignore[arg-type]
    assert breaker.record_outcome(classify_reply(550, "no", stage="rcpt")) is circuit


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
