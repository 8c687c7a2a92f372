"""The live workers are read once for many emails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mailctl.enqueue.live_workers import LiveWorkers
from tests.unit.worker.fakes import Calls


def workers(*queues: tuple[str, ...]) -> tuple[LiveWorkers, Calls]:
    """Return the live workers, each with two processes, and the registry that they are read from."""
    found = [SimpleNamespace(queues=each, concurrency=2) for each in queues]
    registry: Any = Calls(list_alive=[found])
    return LiveWorkers(registry), registry


def test_they_are_cached() -> None:
    """Each email asks for them."""
    live, registry = workers(("celery",), ("celery", "billing"))
    assert live.consumed_queues() == {"celery", "billing"}
    assert (live.slots("celery"), live.slots("billing"), live.slots("other")) == (4, 2, 0)
    assert registry.names == ["list_alive"]
