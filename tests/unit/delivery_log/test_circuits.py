"""Circuits: when they open, and who may probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import Circuits, read_circuits

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_a_circuit_opens_with_the_third_failure_in_a_row(log: Log) -> None:
    """A success in between starts the count anew."""
    circuits = Circuits(log.engine, "smtp:25", clock=log.time)
    circuits.record_failure("no")
    circuits.record_success()
    assert [circuits.record_failure("no").is_open for _ in range(3)] == [False, False, True]


def test_the_stage_of_the_last_failure_is_a_column(log: Log) -> None:
    """What the reason says does not count."""
    circuits = Circuits(log.engine, "smtp:25", clock=log.time)
    circuits.record_failure("at connect: refused", stage="connect")
    assert circuits.record_failure("at connect: 535", stage="auth").stage == "auth"
    [circuit] = read_circuits(log.engine)
    assert (circuit.reason, circuit.stage) == ("at connect: 535", "auth")


def test_one_worker_at_a_time_probes(log: Log) -> None:
    """When the time has come; it may take half a minute."""
    circuits = Circuits(log.engine, "smtp:25", clock=log.time)
    circuits.record_failure("no")
    assert not circuits.acquire_probe()
    log.forward(10)
    assert [circuits.acquire_probe() for _ in range(2)] == [True, False]
    log.forward(30)
    assert circuits.acquire_probe()


def test_probes_become_rarer(log: Log) -> None:
    """Twice the time after each, five minutes at most."""
    circuits = Circuits(log.engine, "smtp:25", clock=log.time)
    delays = []
    for _ in range(8):
        delays.append((circuits.record_failure("no").probe_at - log.now).total_seconds())
        log.forward(delays[-1])
        assert circuits.acquire_probe()
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]
