"""Workers whose heartbeats a delivery log has."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.heartbeats import Worker
from mailctl.delivery_log.process_identity import ProcessIdentity
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import WorkerRegistry


#: Seconds between two signs of life; a worker that gives none for fifteen counts as dead.
_BEAT_SECONDS = 0.5
#: What a process runs with.
IDENTITY = ProcessIdentity(version="1.0", keys=("aaa",), mail_server="smtp:587", log_id="log-1")


def worker(at: datetime = NOW, **more: Any) -> Worker:
    """Return a worker of the host `web` that consumes the queue `celery`, started and seen at a time."""
    fields: dict[str, Any] = {"id": "w1", "name": "celery@web", "host": "web", "pid": 7, "pool": "prefork"}
    fields |= {"concurrency": 2, "queues": ("celery",), "started_at": at, "seen_at": at}
    return Worker(**{**fields, **more})


@contextmanager
def beating(beat_once: Callable[[], None]) -> Iterator[None]:
    """Let a worker give signs of life until the end of the block, however long that takes."""
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.wait(_BEAT_SECONDS):
            beat_once()

    beat_once()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def kept_alive(registry: WorkerRegistry, living: Worker) -> Iterator[None]:
    """Keep a worker alive until the end of the block, where it signs off."""
    with beating(lambda: registry.record_heartbeat(living)):
        yield
    registry.unregister(living.id)
