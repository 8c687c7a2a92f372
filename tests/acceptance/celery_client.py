"""What another Celery program on the same broker does: it asks workers and hears their events."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

#: Seconds after which a command is given again.
_REPLY_SECONDS = 10.0


def ask_worker(app: Celery, command: str, **arguments: Any) -> Any:
    """Give a remote control command until a worker replies, and return the reply.

    A worker says "ready" before it has subscribed to commands, so that the first may be lost.
    """
    deadline = time.monotonic() + PATIENCE
    while not (
        replies := app.control.broadcast(
            command, arguments=arguments, reply=True, timeout=_REPLY_SECONDS, limit=1
        )
    ):
        assert time.monotonic() < deadline, command
    [reply] = replies[0].values()
    return reply


class Listener:
    """Collects every Celery event while it listens, and lists of all processes where they are asked for."""

    def __init__(self, app: Celery, *, lists_processes: bool = False) -> None:
        self._app = app
        self._stopped = threading.Event()
        self.events: list[dict[str, Any]] = []
        self.processes: list[str] = []
        work = (self._receive, self._list) if lists_processes else (self._receive,)
        self._threads = [threading.Thread(target=each) for each in work]

    def __enter__(self) -> Listener:
        # Heartbeats come from any worker; those of tasks only from one that has been told to send them.
        ask_worker(self._app, "enable_events")
        for thread in self._threads:
            thread.start()
        _wait_until(lambda: bool(self.events), self.events)
        return self

    def wait_for(self, type_: str, task_id: str) -> None:
        """Wait for an event of a task, such as `task-succeeded`."""
        _wait_until(lambda: (type_, task_id) in [_key(event) for event in list(self.events)], self.events)

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _receive(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.events.append})
            while not self._stopped.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue

    def _list(self) -> None:
        while not self._stopped.wait(0.1):
            listing = subprocess.run(["ps", "axwwe"], capture_output=True, text=True, check=True)
            self.processes.append(listing.stdout)


def _key(event: dict[str, Any]) -> tuple[str, str | None]:
    return event["type"], event.get("uuid")


def _wait_until(is_done: Callable[[], bool], seen: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
