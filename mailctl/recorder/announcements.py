"""Messages that the service's code publishes; each is recorded when the broker has taken it, or has not."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mailctl.celery_app import has_memory_broker
from mailctl.recorder.calls import drafts_of
from mailctl.recorder.writer import log_writer

if TYPE_CHECKING:
    from celery import Celery

    from mailctl.domain.catalog import Kind
    from mailctl.recorder.calls import OwnCall
    from mailctl.runtime import Runtime

#: Seconds that publishing may take; what takes longer counts as failed until the broker has the message.
PATIENCE_SECONDS = 60.0
#: Seconds between two looks at what was not published.
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class _Announcement:
    call: OwnCall
    kind: Kind
    #: When it was announced: by the clock of this process, and in UTC.
    since: float
    at: datetime


class Announcements:
    """Holds the calls of one process that are being published.

    Args:
        app: the app that publishes them.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._reset()
        # A forked child publishes nothing of what its parent has announced.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._announced: dict[str, _Announcement] = {}
        self._lock = threading.Lock()

    def announce(self, call: OwnCall, kind: Kind) -> None:
        """Note that a call is about to be published."""
        announcement = _Announcement(call=call, kind=kind, since=time.monotonic(), at=datetime.now(UTC))
        with self._lock:
            self._announced[call.id] = announcement
        log_writer().repeat(self._give_up, every_seconds=_LOOK_SECONDS)
        log_writer().before_exit(self._give_up_all)

    def confirm(self, task_id: object) -> None:
        """Record the call that the broker has taken, in the background."""
        with self._lock:
            announced = self._announced.pop(str(task_id), None)
        if announced is not None:
            log_writer().put(partial(self._record, announced))

    def _give_up_all(self, runtime: Runtime) -> None:
        """Record every call that was not published as failed, because the process ends."""
        self._fail(runtime, before=float("inf"))

    def _give_up(self, runtime: Runtime) -> None:
        self._fail(runtime, before=time.monotonic() - PATIENCE_SECONDS)

    def _record(self, announced: _Announcement, runtime: Runtime) -> None:
        drafts = drafts_of(announced.call, announced.kind, now=announced.at)
        # Only the publishing process sees a memory broker; the relay of a worker carries the email over.
        runtime.own_task_claims.record(drafts, is_on_broker=not has_memory_broker(self._app))

    def _fail(self, runtime: Runtime, *, before: float) -> None:
        with self._lock:
            unpublished = [each for each in self._announced.values() if each.since < before]
        for each in unpublished:
            drafts = drafts_of(each.call, each.kind, now=each.at)
            runtime.own_task_claims.fail_unpublished(drafts)
            with self._lock:
                self._announced.pop(each.call.id, None)
