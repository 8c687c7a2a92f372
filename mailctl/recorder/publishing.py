"""Records the calls of own tasks that a process publishes: once the broker has the message, or as failed."""

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

#: Seconds that publishing may take. A call that takes longer is recorded as failed, until a worker receives
#: its message.
PUBLISH_TIMEOUT_SECONDS = 60.0
#: Seconds between two checks for calls that were not published.
_CHECK_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class _PublishedCall:
    """A call whose publishing has begun."""

    call: OwnCall
    kind: Kind
    #: When publishing began: by the monotonic clock of this process, and in UTC.
    since: float
    at: datetime


class PublishRecorder:
    """Records the calls that one process publishes.

    Args:
        app: the app that publishes them.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._reset()
        # What the parent is publishing, a forked child is not.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._calls: dict[str, _PublishedCall] = {}
        self._lock = threading.Lock()

    def begin(self, call: OwnCall, kind: Kind) -> None:
        """Note that a call is about to be published."""
        begun = _PublishedCall(call=call, kind=kind, since=time.monotonic(), at=datetime.now(UTC))
        with self._lock:
            self._calls[call.id] = begun
        log_writer().repeat(self._fail_overdue, every_seconds=_CHECK_SECONDS)
        log_writer().before_exit(self._fail_all)

    def confirm(self, task_id: object) -> None:
        """Record a call in the background, now that the broker has accepted its message."""
        with self._lock:
            published = self._calls.pop(str(task_id), None)
        if published is not None:
            log_writer().put(partial(self._record, published))

    def _fail_all(self, runtime: Runtime) -> None:
        """Record every call that was not published as failed, because the process ends."""
        self._fail(runtime, before=float("inf"))

    def _fail_overdue(self, runtime: Runtime) -> None:
        self._fail(runtime, before=time.monotonic() - PUBLISH_TIMEOUT_SECONDS)

    def _record(self, published: _PublishedCall, runtime: Runtime) -> None:
        drafts = drafts_of(published.call, published.kind, now=published.at)
        # No other process sees a memory broker, so the relay of a worker publishes the email again there.
        runtime.own_task_claims.record(drafts, is_on_broker=not has_memory_broker(self._app))

    def _fail(self, runtime: Runtime, *, before: float) -> None:
        with self._lock:
            unpublished = [each for each in self._calls.values() if each.since < before]
        for each in unpublished:
            drafts = drafts_of(each.call, each.kind, now=each.at)
            runtime.own_task_claims.fail_unpublished(drafts)
            with self._lock:
                self._calls.pop(each.call.id, None)
