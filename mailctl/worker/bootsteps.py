"""The bootstep that runs the relay within a Celery worker."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from celery import bootsteps
from celery.signals import worker_shutdown
from celery.worker import state
from typing_extensions import override

from mailctl import runtime
from mailctl.broker.shared_queues import expose_key_fingerprints
from mailctl.celery_app import consumed_queues, has_memory_broker
from mailctl.checks.placeholders import find_placeholders
from mailctl.delivery_log.claim_tokens import begin_worker
from mailctl.delivery_log.heartbeats import Worker
from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.errors import ExitCode, LogUnavailable
from mailctl.worker.consumer_activity import is_stopping
from mailctl.worker.consumer_watch import CeleryConsumer
from mailctl.worker.relay import Relay
from mailctl.worker.restarts import give_up
from mailctl.worker.shared_queues import warn_of_other_workers

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.process_identity import ProcessIdentity
    from mailctl.settings import Settings

_log = logging.getLogger("mailctl.worker")
#: Seconds for which a worker that ends waits for the delivery log, if that did not answer before.
_SIGN_OFF_SECONDS = 3.0


class RelayStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts the relay after the pool, and stops it before the pool.

    It does not depend on the consumer, whose start blocks until the worker ends.
    """

    requires: ClassVar = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, *, drain: bool = False, **options: Any) -> None:
        super().__init__(parent, **options)
        begin_worker()  # before the pool forks its processes
        self._drain = drain
        self._relay: Relay | None = None

    def start(self, parent: Any) -> None:
        """Start the relay on the delivery log of this process."""
        runtime.adopt_app(parent.app)
        parts = runtime.current()
        parts.limit_transactions()
        _warn_of_placeholders(parts.settings)
        self._relay = Relay(
            parts,
            _make_worker_record(parent, parts.identity, now=parts.clock()),
            # In memory nothing comes between the consumer and its queues.
            consumer=None if has_memory_broker(parent.app) else CeleryConsumer(parent),
            on_drained=_stop_worker if self._drain else None,
            on_failed=partial(give_up, parent),
            is_busy=_has_tasks,
            list_processes=partial(_list_processes, parent),
            on_tick=partial(_wake_if_stopping, parent),
        )
        self._relay.start()
        expose_key_fingerprints(parent.app, parts.identity.keys)
        # After the pool has forked: a thread that asks the broker may hold locks of the driver.
        warn_of_other_workers(parent.app)

    @override
    def stop(self, parent: Any) -> None:
        """Stop the relay; running tasks continue."""
        if self._relay is None:
            return
        self._relay.stop()
        if not self._relay.is_signed_off:
            # The log may answer again until the tasks have ended, which wait for it to record their outcomes.
            worker_shutdown.connect(partial(_sign_off, self._relay), weak=False)
        self._relay = None

    terminate = stop


def _sign_off(relay: Relay, **_: object) -> None:
    # If the log still does not answer, the heartbeat of the worker runs out.
    with suppress(LogUnavailable), time_limit(_SIGN_OFF_SECONDS):
        relay.sign_off(runtime.current())


def _warn_of_placeholders(settings: Settings) -> None:
    found = list(find_placeholders(settings))
    if found:
        text = " ".join(f"{each.setting}: {each.reason}" for each in found)
        _log.warning("placeholder settings in production: %s Run `mailctl check-config`.", text)


def _make_worker_record(worker: Any, identity: ProcessIdentity, *, now: datetime) -> Worker:
    return Worker(
        id=uuid.uuid4().hex,
        name=worker.hostname,
        host=socket.gethostname(),
        pid=os.getpid(),
        pool=type(worker.pool).__module__.rpartition(".")[2],
        concurrency=worker.concurrency,
        queues=consumed_queues(worker.app),
        started_at=now,
        seen_at=now,
        identity=identity,
    )


def _has_tasks() -> bool:
    return bool(state.reserved_requests or state.active_requests)


def _list_processes(worker: Any) -> list[int]:
    """Return the ids of the processes of a worker's pool; none if its tasks run in the main process."""
    # Not `worker.pool.info`, which another thread may not read while processes come and go.
    pool = getattr(worker.pool, "_pool", None)
    found = (getattr(process, "pid", None) for process in list(getattr(pool, "_pool", ())))
    return [pid for pid in found if isinstance(pid, int)]


def _wake_if_stopping(worker: Any) -> None:
    """Send a stopping worker a message: on a memory broker it notices the stop only every 2 seconds."""
    if is_stopping() and has_memory_broker(worker.app):
        worker.app.control.broadcast("ping", destination=[worker.hostname])


def _stop_worker(code: ExitCode) -> None:
    state.should_stop = int(code)
