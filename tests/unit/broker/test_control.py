"""Remote control combines the replies of the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import Celery

from mailctl.broker.control import Node, RemoteControl


class Control:
    """Celery's control with workers that always answer."""

    mailbox = SimpleNamespace(exchange=SimpleNamespace(name="celery.pidbox"))

    def __init__(self) -> None:
        self.shut_down: list[str] = []

    def broadcast(self, command: str, *, destination: list[str] | None, **_: Any) -> list[dict[str, Any]]:
        facts = {
            "pid": 7,
            "pool": {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 2},
            "uptime": 60,
        }
        if command == "stats":
            return [{"a@host": facts}] if destination == ["a@host", "b@host"] else []
        if command == "active_queues":
            return [{"a@host": [{"name": "celery"}]}, {"b@host": []}]
        return [{name: {"ok": "pong"}} for name in destination or ["a@host", "b@host"]]

    def shutdown(self, *, destination: list[str], **_: Any) -> None:
        self.shut_down += destination


def remote_control() -> tuple[RemoteControl, Control]:
    """Return the remote control of an app in memory, and the fake behind it."""
    app, control = Celery("controlled", broker="memory://", set_as_current=False), Control()
    app.control = control  # type: ignore[misc, assignment]
    return RemoteControl(app), control


def test_a_worker_is_described_by_its_queues_and_its_stats() -> None:
    """A worker that answers only the first question is listed without stats."""
    nodes = remote_control()[0].nodes()
    assert nodes["a@host"] == Node(
        name="a@host", queues=("celery",), pid=7, pool="prefork", concurrency=2, uptime_seconds=60
    )
    assert nodes["b@host"] == Node(
        name="b@host", queues=(), pid=None, pool=None, concurrency=None, uptime_seconds=None
    )


def test_workers_are_pinged_by_name_or_all_of_them() -> None:
    """Their names are returned."""
    remote, _ = remote_control()
    assert remote.ping() == {"a@host", "b@host"}
    assert remote.ping(["b@host"]) == {"b@host"}


def test_only_named_workers_are_stopped() -> None:
    """By Celery's shutdown."""
    remote, control = remote_control()
    remote.stop(["b@host"])
    assert control.shut_down == ["b@host"]
