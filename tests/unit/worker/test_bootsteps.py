"""The relay reports its worker, and wakes one that is to stop."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.concurrency.solo import TaskPool
from celery.signals import worker_shutdown
from celery.worker import state

from mailctl import runtime
from mailctl.errors import ExitCode
from mailctl.worker.bootsteps import RelayStep, _make_worker_record, _stop_worker, _wake_if_stopping
from tests.emails import NOW
from tests.workers import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    """Celery's state of a worker that is not to stop."""
    yield
    state.should_stop = None


def worker(broker: str) -> tuple[Any, list[Any]]:
    """Return a worker, and the messages that are broadcast to it."""
    app, sent = Celery("waking", broker=broker, set_as_current=False), []
    control = SimpleNamespace(broadcast=lambda command, destination: sent.append((command, destination)))
    app.control = control  # type: ignore[misc, assignment]
    return SimpleNamespace(app=app, hostname="w@host", pool=object.__new__(TaskPool), concurrency=1), sent


def test_a_worker_is_reported_with_its_pool_and_its_queues() -> None:
    """Each start has an id of its own."""
    made, _ = worker("memory://")
    first, second = (_make_worker_record(made, IDENTITY, now=NOW) for _ in range(2))
    assert first.identity == IDENTITY
    assert (first.name, first.pid, first.pool, first.queues) == ("w@host", os.getpid(), "solo", ("celery",))
    assert first.id != second.id
    assert first.started_at == NOW


@pytest.mark.parametrize(
    ("broker", "should_stop", "expected"),
    [
        ("memory://", 0, [("ping", ["w@host"])]),
        ("memory://", None, []),
        ("memory://", False, []),
        ("redis://localhost", 0, []),
    ],
)
def test_a_stopping_worker_is_woken_on_a_broker_in_memory(
    broker: str, should_stop: int | bool | None, expected: list[Any]
) -> None:
    """It would notice the stop only 2 seconds later."""
    made, sent = worker(broker)
    state.should_stop = should_stop
    _wake_if_stopping(made)
    assert sent == expected


def test_a_drained_worker_stops_with_success() -> None:
    """Its exit code is 0; 5 if the log could not be used."""
    _stop_worker(ExitCode.DONE)
    assert state.should_stop == 0
    assert state.should_stop is not False
    _stop_worker(ExitCode.UNAVAILABLE)
    assert state.should_stop == 5


@pytest.mark.parametrize("is_signed_off", [True, False])
def test_a_worker_signs_off_at_its_end_if_the_log_did_not_answer_before(
    monkeypatch: pytest.MonkeyPatch, is_signed_off: bool
) -> None:
    """Over the runtime of that moment: its tasks, which ended meanwhile, may have closed the relay's."""
    used: list[Any] = []
    step: Any = object.__new__(RelayStep)
    step._relay = SimpleNamespace(stop=lambda: None, is_signed_off=is_signed_off, sign_off=used.append)
    monkeypatch.setattr(worker_shutdown, "receivers", [])
    monkeypatch.setattr(runtime, "current", lambda: "parts")
    step.stop(None)
    assert used == []
    worker_shutdown.send(sender=None)
    assert used == ([] if is_signed_off else ["parts"])
