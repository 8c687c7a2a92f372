"""Workers whose heartbeats a delivery log has."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS, Worker
from mailctl.delivery_log.process_identity import ProcessIdentity
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import WorkerRegistry


#: What a process runs with.
IDENTITY = ProcessIdentity(version="1.0", keys=("aaa",), mail_server="smtp:587", log_id="log-1")


def worker(at: datetime = NOW, **more: Any) -> Worker:
    """Return a worker of the host `web` that consumes the queue `celery`, started and seen at a time."""
    fields: dict[str, Any] = {"id": "w1", "name": "celery@web", "host": "web", "pid": 7, "pool": "prefork"}
    fields |= {"concurrency": 2, "queues": ("celery",), "started_at": at, "seen_at": at}
    return Worker(**{**fields, **more})


@contextmanager
def kept_alive(registry: WorkerRegistry, living: Worker) -> Iterator[None]:
    """Record the heartbeats of a worker until the end of the block, however long that takes."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(HEARTBEAT_SECONDS):
            registry.record_heartbeat(living)

    registry.record_heartbeat(living)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        registry.unregister(living.id)
