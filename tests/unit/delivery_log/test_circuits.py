"""Circuits: when they open, who may probe, and which emails wait meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.circuits import Circuits, read_circuits, read_circuits_in_use
from mailctl.domain.outcomes import ReplyCategory
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import LATER
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SOON = timedelta(minutes=5)


def make_circuits(log: Log) -> Circuits:
    """Return the circuits of a worker with one mail server."""
    return Circuits(log.engine, "smtp:25", clock=log.time)


def open_circuits(log: Log) -> Circuits:
    """Return the circuits of a worker whose mail server does not work."""
    circuits = make_circuits(log)
    circuits.record_failure("no", opens_at_once=True)
    return circuits


def test_a_circuit_opens_with_the_third_failure_in_a_row(log: Log) -> None:
    """A success in between starts the count again."""
    circuits = make_circuits(log)
    circuits.record_failure("no")
    circuits.record_success()
    assert [circuits.record_failure("no").is_open for _ in range(3)] == [False, False, True]


def test_one_failure_opens_a_circuit_if_it_proves_that_nothing_can_be_sent(log: Log) -> None:
    """A used-up quota is probed rarely: it takes hours to come back."""
    circuits = make_circuits(log)
    quota = {"category": ReplyCategory.QUOTA, "opens_at_once": True}
    delays = []
    for _ in range(6):
        circuit = circuits.record_failure("no", stage="body", **quota)  # type: ignore[arg-type]
        assert (circuit.is_open, circuit.category) == (True, ReplyCategory.QUOTA)
        delays.append((circuit.probe_at - log.now).total_seconds())
        log.forward(delays[-1])
        assert circuits.acquire_probe()
    assert delays == [300, 600, 1200, 2400, 3600, 3600]


def test_one_failure_is_the_one_that_opens_the_circuit(log: Log) -> None:
    """By it, the outage is reported once."""
    circuits = make_circuits(log)
    assert [circuits.record_failure("no").has_just_opened for _ in range(5)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    again = make_circuits(log).record_failure("no", opens_at_once=True)
    assert (again.is_open, again.has_just_opened) == (True, False)


def test_an_open_circuit_says_what_it_is_about(log: Log) -> None:
    """A server that answers but refuses every email does not count as down."""
    circuits = make_circuits(log)
    assert "has not worked since" in str(circuits.record_failure("no", stage="auth"))
    assert "has accepted no email since" in str(circuits.record_failure("no", stage="rcpt"))


@pytest.mark.parametrize("failures", [2, 3])
def test_what_a_fault_of_ours_deferred_is_due_when_the_circuit_closes(log: Log, failures: int) -> None:
    """Not if the circuit was never open: others were accepted meanwhile."""
    circuits, email_id = make_circuits(log), log.add()
    for _ in range(failures):
        circuits.record_failure("no", stage="rcpt")
    log.change(email_id, state=State.DEFERRED, reason_code=ReasonCode.CONFIGURATION, due_at=log.now + SOON)
    assert circuits.record_success() == (failures == 3)
    assert (log.email(email_id).due_at == log.now) is (failures == 3)


def test_the_stage_of_the_last_failure_is_a_column(log: Log) -> None:
    """What the reason says does not count."""
    circuits = make_circuits(log)
    circuits.record_failure("at connect: refused", stage="connect")
    assert circuits.record_failure("at connect: 535", stage="auth").stage == "auth"
    [circuit] = read_circuits(log.engine)
    assert (circuit.reason, circuit.stage) == ("at connect: 535", "auth")


def test_one_worker_at_a_time_probes(log: Log) -> None:
    """When the time has come; it may take half a minute."""
    circuits = make_circuits(log)
    circuits.record_failure("no")
    assert not circuits.acquire_probe()
    log.forward(10)
    assert [circuits.acquire_probe() for _ in range(2)] == [True, False]
    log.forward(30)
    assert circuits.acquire_probe()


def test_probes_become_rarer(log: Log) -> None:
    """Twice the time after each, five minutes at most."""
    circuits = make_circuits(log)
    delays = []
    for _ in range(8):
        delays.append((circuits.record_failure("no").probe_at - log.now).total_seconds())
        log.forward(delays[-1])
        assert circuits.acquire_probe()
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]


def test_an_outage_is_known_by_its_code(log: Log) -> None:
    """What only reads like one waits on; what waits for the server is due again."""
    kept, other = log.queue(), log.queue()
    assert open_circuits(log).postpone_email(kept, until=log.now + SOON, reason="it is down")
    make_circuits(log).postpone_email(other, until=log.now + SOON, reason="it is down")
    log.change(other, error="postponed: it is down", reason_code=ReasonCode.PUBLISHING_FAILED)
    assert make_circuits(log).record_success() == 1
    assert (log.email(kept).error, log.email(kept).reason_code) == (None, None)
    assert log.email(other).not_before == log.now + SOON


def test_what_a_worker_postpones_before_it_is_marked_stays_postponed(log: Log) -> None:
    """Its message was faster than the statement that says that it was published."""
    email_id = log.add()
    assert open_circuits(log).postpone_email(email_id, until=log.now + SOON, reason="it is down")
    assert log.publications.mark_queued([email_id]) == 0
    email, event = log.email(email_id), log.last_event(email_id)
    assert (email.state, email.not_before) == (State.PENDING, log.now + SOON)
    assert event.reason_code is ReasonCode.MAIL_SERVER_DOWN


def test_a_deferred_email_that_waits_is_not_postponed(log: Log) -> None:
    """It is not about to be sent."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER)
    assert not open_circuits(log).postpone_email(email_id, until=log.now, reason="it is down")


@pytest.mark.parametrize("closed", [0, 1], ids=["its own", "another one"])
def test_nothing_waits_for_a_circuit_that_has_closed(log: Log, closed: int) -> None:
    """A worker learns that a moment later; what it postponed then would wait until the next probe."""
    email_id, names = log.queue(), ("one:25", "two:25")
    servers = [Circuits(log.engine, name, clock=log.time) for name in names]
    for each in servers:
        each.record_failure("no", opens_at_once=True)
    servers[closed].record_success()
    assert not servers[0].postpone_email(email_id, until=log.now + SOON, reason="it is down", servers=names)
    assert log.email(email_id).state is State.QUEUED


def test_only_circuits_to_servers_in_use_matter(log: Log) -> None:
    """Unless a worker does not say which server it uses, or there is none."""
    for server in ("used:25", "former:25"):
        Circuits(log.engine, server, clock=log.time).record_failure("refused")
    uses = worker(identity=replace(IDENTITY, mail_server="used:25"))
    found = [
        [each.server for each in read_circuits_in_use(log.engine, workers)]
        for workers in ([uses], [uses, worker()], [])
    ]
    both = ["former:25", "used:25"]
    assert [sorted(servers) for servers in found] == [["used:25"], both, both]
