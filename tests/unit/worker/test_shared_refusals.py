"""The watch for refusals of everybody, on a real delivery log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.refusals import Refusals
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.smtp.classify import classify_reply
from mailctl.worker.shared_refusals import SharedRefusalWatch
from tests.emails import utc_now
from tests.unit.delivery_log.conftest import SENT, Log, empty_log_file, engine, log
from tests.unit.worker.fakes import parts

if TYPE_CHECKING:
    from mailctl.domain.outcomes import Outcome

__all__ = ["empty_log_file", "engine", "log"]

NO = classify_reply(554, "5.7.1 <ada@example.com>: we do not want it", stage="rcpt")
DEAD = classify_reply(550, "5.1.1 user unknown", stage="rcpt")


@pytest.fixture(autouse=True)
def _today(log: Log) -> None:
    log.now = utc_now()


def refuse(
    log: Log, outcome: Outcome = NO, *, count: int = 10, domains: int = 5, email_id: str = ""
) -> list[str]:
    """Let the mail server refuse emails to so many recipients in so many domains."""
    ids = [email_id] if email_id else [log.add(f"u{n}@d{n % domains}.example") for n in range(count)]
    reason = Reason(code=ReasonCode.REFUSED, text=outcome.text_after("refused"))
    for each in ids:
        log.results.finish(log.claim(each), State.FAILED, outcome=outcome, reason=reason)
    return ids


def make(log: Log) -> tuple[SharedRefusalWatch, Circuits]:
    circuits = Circuits(log.engine, "smtp:587", clock=log.time)
    refusals = Refusals(log.engine, clock=log.time)
    return SharedRefusalWatch(parts(circuits=circuits, refusals=refusals, clock=log.time)), circuits


def states(log: Log, ids: list[str]) -> set[State]:
    return {log.email(each).state for each in ids}


def test_the_same_refusal_for_everybody_opens_the_circuit_and_returns_the_emails(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """One alarm; the emails wait for the first one that is accepted."""
    ids, (watch, circuits) = refuse(log), make(log)
    for _ in range(3):
        watch.check()
    circuit = circuits.read()
    assert circuit is not None
    assert (circuit.is_open, circuit.is_about_emails) == (True, True)
    assert states(log, ids) == {State.PENDING}
    assert log.email(ids[0]).reason_code is ReasonCode.MAIL_SERVER_DOWN
    assert log.last_event(ids[0]).reason_code is ReasonCode.REFUSED_FOR_ALL
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert circuits.record_success() == len(ids)


def test_what_is_accepted_is_not_compared(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would take as long as much of sending it; the next refusal is compared with all before it."""
    (watch, circuits), compared = make(log), []
    read = Refusals.recent_ends
    monkeypatch.setattr(
        Refusals, "recent_ends", lambda *args, **named: compared.append(1) or read(*args, **named)
    )
    for number in range(3):
        log.results.finish(log.claim(log.add(f"a{number}@example.com")), State.SENT, outcome=SENT)
        watch.check()
    assert len(compared) == 1
    refuse(log)
    watch.check()
    circuit = circuits.read()
    assert circuit is not None
    assert circuit.is_open


def test_a_second_refusal_is_final(log: Log) -> None:
    """An email comes back once, and does not open the circuit again."""
    ids, (watch, circuits) = refuse(log), make(log)
    watch.check()
    circuits.record_success()
    for each in ids:
        refuse(log, email_id=each)
    watch.check()
    assert states(log, ids) == {State.FAILED}
    assert circuits.read() is None


def test_a_first_refusal_while_the_circuit_is_open_is_not_final(log: Log) -> None:
    """That email was the probe."""
    refuse(log)
    watch, circuits = make(log)
    watch.check()
    [probe] = refuse(log, count=1)
    watch.check()
    assert log.email(probe).state is State.PENDING
    assert circuits.read() is not None


@pytest.mark.parametrize(("outcome", "domains"), [(DEAD, 5), (NO, 4)], ids=["dead mailboxes", "four domains"])
def test_the_fault_of_recipients_changes_nothing(log: Log, outcome: Outcome, domains: int) -> None:
    """However many they are."""
    ids, (watch, circuits) = refuse(log, outcome, count=40, domains=domains), make(log)
    watch.check()
    assert states(log, ids) == {State.FAILED}
    assert circuits.read() is None


def test_an_acceptance_in_between_proves_that_it_is_not_ours(log: Log) -> None:
    """The server takes email from us."""
    first, accepted = refuse(log, count=5), log.claim(log.add())
    log.results.finish(accepted, State.SENT, outcome=SENT, message_id="<m@example.com>")
    rest, (watch, circuits) = refuse(log, count=9), make(log)
    watch.check()
    assert states(log, first + rest) == {State.FAILED}
    assert circuits.read() is None


def test_what_failed_before_the_row_stays_as_it_is(log: Log) -> None:
    """Only what was refused alike, since an email was last accepted, comes back."""
    [before], other = refuse(log, count=1), refuse(log, classify_reply(550, "gone", stage="body"), count=1)
    accepted = log.claim(log.add())
    log.forward(1)
    log.results.finish(accepted, State.SENT, outcome=SENT, message_id="<m@example.com>")
    log.forward(1)
    ids, (watch, _) = refuse(log), make(log)
    watch.check()
    assert states(log, [before, *other]) == {State.FAILED}
    assert states(log, ids) == {State.PENDING}
