"""Workers whose heartbeats a delivery log has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.heartbeats import Worker
from mailctl.delivery_log.process_identity import ProcessIdentity
from tests.emails import NOW

if TYPE_CHECKING:
    from datetime import datetime


#: What a process runs with.
IDENTITY = ProcessIdentity(version="1.0", keys=("aaa",), mail_server="smtp:587", log_id="log-1")


def worker(at: datetime = NOW, **more: Any) -> Worker:
    """Return a worker of the host `web` that consumes the queue `celery`, started and seen at a time."""
    fields: dict[str, Any] = {"id": "w1", "name": "celery@web", "host": "web", "pid": 7, "pool": "prefork"}
    fields |= {"concurrency": 2, "queues": ("celery",), "started_at": at, "seen_at": at}
    return Worker(**{**fields, **more})
