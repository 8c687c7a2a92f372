"""The relay: puts on the broker what the delivery log says is due, and mends what got stuck.

Any number of relays may run on one log: each email is reserved by one of them at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import overridden_tasks
from mailctl.delivery_log.circuits import MAX_PROBE_DELAY_SECONDS
from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS
from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.domain.retry_policy import (
    BLIND_REPUBLISH_SECONDS,
    LOST_MESSAGE_CHECK_SECONDS,
    UNCLAIMED_GRACE_SECONDS,
)
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import BrokerUnavailable, LogUnavailable, MailctlError
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: Seconds between turns at most, at a local log and at one on a server.
LOCAL_TICK_SECONDS = 0.2
SERVER_TICK_SECONDS = 1.0
#: Seconds between looks whether anybody has written to a local log: they cost next to nothing. Only where
#: none but a relay can publish: else whoever records an email does, and a turn would slow it down.
_POLL_SECONDS = 0.02
#: How much longer the relay rests than it has worked, while a local log is written to all the time.
_REST_FACTOR = 20
#: Seconds between looks for leases that ran out, and for what came too late.
RECOVERY_SECONDS = 1.0
#: Emails that are published together.
BATCH_SIZE = 100
#: Batches of campaigns that wait on the broker at most.
MAX_BATCHES_ON_BROKER = 10
#: Seconds that the clock may be set by before leases cannot be trusted for a while.
CLOCK_JUMP_SECONDS = 5.0
#: Seconds for which there must be nothing to do before a draining worker stops.
_QUIET_SECONDS = 0.4


@dataclass
class _Timer:
    """Says when something is due that is done every so many seconds."""

    every_seconds: float
    _next_at: float = field(default=0.0)

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + self.every_seconds
        return True


class _LeaseTrust:
    """Knows when a lease that has run out says nothing.

    Either somebody set the clock, or the log did not answer and nobody could prolong a lease or record
    an outcome. Those that are alive get as long as a lease to do it.

    Args:
        distrust_seconds: how long that is.
    """

    def __init__(self, *, distrust_seconds: float) -> None:
        self._distrust_seconds = distrust_seconds
        self._offset = time.time() - time.monotonic()
        self._trusted_from = 0.0
        self._set_back_until = 0.0

    def distrust(self) -> None:
        self._trusted_from = time.monotonic() + self._distrust_seconds

    def are_trusted(self) -> bool:
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > CLOCK_JUMP_SECONDS:
            self.distrust()
            if offset < self._offset:
                self._set_back_until = self._trusted_from
            _log.warning("the clock was set by %+.0f s", offset - self._offset)
        self._offset = offset
        return time.monotonic() >= self._trusted_from

    def is_clock_set_back(self) -> bool:
        """Whether the clock was set back lately: what was written before may name times that are far away."""
        return time.monotonic() < self._set_back_until


class Relay:
    """Runs in a thread of a worker's main process.

    Args:
        runtime: the parts of this process.
        worker: who this is, for the heartbeat.
        on_drained: called once when nothing is left to do; None keeps going.
        is_busy: whether the worker has tasks in hand.
        each_turn: called in every turn.
    """

    def __init__(
        self,
        runtime: Runtime,
        worker: Worker,
        *,
        on_drained: Callable[[], None] | None = None,
        is_busy: Callable[[], bool] = lambda: False,
        each_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self._runtime = runtime
        self._worker = worker
        self._on_drained = on_drained
        self._is_busy = is_busy
        self._each_turn = each_turn
        self._publisher = Publisher(runtime, worker_id=worker.id)
        self._broker = BrokerInspector(runtime.app)
        self._watch = ChangeDetector(runtime.engine)
        self._tick_seconds = LOCAL_TICK_SECONDS if self._watch.is_sqlite else SERVER_TICK_SECONDS
        self._publishes_alone = self._watch.is_sqlite and self._broker.is_in_memory
        self._lease = timedelta(seconds=runtime.settings.mailctl_lease_seconds)
        self._longest_wait = max(
            self._lease,
            timedelta(seconds=max(runtime.settings.mailctl_retry_cap_seconds, MAX_PROBE_DELAY_SECONDS)),
        )
        self._hold = runtime.settings.mailctl_on_ambiguous == "hold"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mailctl-relay", daemon=True)
        self._beat = _Timer(every_seconds=HEARTBEAT_SECONDS)
        self._mend = _Timer(every_seconds=RECOVERY_SECONDS)
        self._search = _Timer(every_seconds=LOST_MESSAGE_CHECK_SECONDS)
        self._leases = _LeaseTrust(distrust_seconds=runtime.settings.mailctl_lease_seconds)
        self._busy_at = time.monotonic()
        self._is_drained = False
        self._is_campaigning = False
        self._trouble: type[MailctlError] | None = None

    def start(self) -> None:
        """Say that this worker is alive, and begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say that this worker is gone."""
        self._stopped.set()
        self._thread.join()

    @property
    def tick_seconds(self) -> float:
        """Seconds between two turns at most.

        A campaign's batches on the broker may be sent sooner than a server's log would be asked again.
        """
        return LOCAL_TICK_SECONDS if self._is_campaigning else self._tick_seconds

    def _run(self) -> None:
        while not self._stopped.is_set():
            began_at, taken = time.monotonic(), self._publisher.published_count
            try:
                self._tick()
                # A turn in which nothing was published shows nothing of the broker.
                if self._trouble is not BrokerUnavailable or self._publisher.published_count > taken:
                    self._log_trouble(None)
            except MailctlError as error:
                if isinstance(error, LogUnavailable):
                    self._leases.distrust()
                self._log_trouble(error)
            self._rest(worked_seconds=time.monotonic() - began_at)
        self._sign_off()

    def _rest(self, *, worked_seconds: float) -> None:
        """Wait for the next turn: for a tick at most, and less where somebody counts on this relay."""
        began_at = time.monotonic()
        while (rested := time.monotonic() - began_at) < self.tick_seconds:
            if self._publishes_alone and rested > _REST_FACTOR * worked_seconds and self._watch.has_changed():
                return
            if self._stopped.wait(_POLL_SECONDS if self._publishes_alone else self.tick_seconds):
                return

    def _tick(self) -> None:
        if self._beat.is_due():
            self._runtime.workers.record_heartbeat(self._worker)
        is_time_to_mend = self._mend.is_due()
        if is_time_to_mend:
            self._recover()
        if is_time_to_mend or self._watch.may_have_changed():
            self._watch.mark_seen()
            self._publish()
        if self._on_drained is not None:
            self._check_drained(self._on_drained)
        self._each_turn()

    def _publish(self) -> None:
        if self._publisher.is_backing_off:
            return
        self._runtime.pauses.park()
        circuits = self._runtime.circuits
        circuit = circuits.read() if circuits else None
        if circuit is not None and circuit.is_open:
            self._publish_probe(circuit)
            return
        while due := self._runtime.outbox.reserve_due(limit=BATCH_SIZE):
            self._publisher.publish_all(due)
            if self._stopped.is_set():
                return
        self._publish_campaigns()

    def _publish_campaigns(self) -> None:
        """Keep some batches on the broker, and the rest in the log: there they can be paced and stopped."""
        self._is_campaigning = self._publisher.is_consumed(BULK_QUEUE) and self._runtime.campaigns.has_due()
        if not self._is_campaigning:
            return
        room = MAX_BATCHES_ON_BROKER - self._broker.depth(BULK_QUEUE).ready
        while room > 0 and self._publisher.publish_batch(limit=BATCH_SIZE):
            room -= 1
            if self._stopped.is_set():
                return

    def _publish_probe(self, circuit: Circuit) -> None:
        """While the mail server does not work, only one email at a time goes out to try it."""
        if circuit.probe_at <= datetime.now(UTC):
            due = self._runtime.outbox.reserve_due(limit=1)
            if not self._publisher.publish_all(due):
                self._publisher.publish_batch(limit=1)

    def _recover(self) -> None:
        recovery = self._runtime.recovery
        if self._leases.are_trusted():
            recovery.release_stale(hold=self._hold)
        if self._leases.is_clock_set_back():
            recovery.correct_future_times(longest=self._longest_wait)
        recovery.expire()
        recovery.return_orphans(alive=[worker.id for worker in self._runtime.workers.list_alive()])
        if self._search.is_due() and not self._broker.is_in_memory:
            self._return_lost()

    def _return_lost(self) -> None:
        now = datetime.now(UTC)
        patient_until = now - timedelta(seconds=min(UNCLAIMED_GRACE_SECONDS, self._lease.total_seconds()))
        self._apply_celery_results(queued_before=patient_until)
        for queue in self._runtime.history.queues_with_unclaimed(queued_before=patient_until):
            depth = self._broker.depth(queue)
            if depth.unacked is None:
                blind_until = now - timedelta(seconds=BLIND_REPUBLISH_SECONDS)
                self._runtime.recovery.return_lost(queue=queue, queued_before=blind_until, on_broker=0)
                continue
            recovery = self._runtime.recovery
            emails_each = BATCH_SIZE if queue == BULK_QUEUE else 1
            lost = recovery.return_lost(
                queue=queue,
                queued_before=patient_until,
                on_broker=(depth.ready + depth.unacked) * emails_each,
            )
            # What a killed worker held is not acknowledged either, and Redis is patient with the dead.
            if depth.unacked:
                lost += recovery.return_lost(
                    queue=queue, queued_before=now - self._lease, on_broker=depth.ready * emails_each
                )
            if lost:
                _log.warning("the broker lost %d messages of queue %s; they are published again", lost, queue)

    def _apply_celery_results(self, *, queued_before: datetime) -> None:
        """Record what tasks of the service's own report: they do not write to the log themselves."""
        own = overridden_tasks(self._runtime.app)
        if not own:
            return
        kinds = [kind.name for kind in self._runtime.catalog.kinds.values() if kind.full_task in own]
        for email_id in self._runtime.history.queued_ids(kinds, queued_before=queued_before):
            result = self._broker.task_result(email_id)
            if result is not None:
                self._runtime.recovery.apply_celery_result(
                    email_id, celery_state=result.state, text=result.text
                )

    def _check_drained(self, on_drained: Callable[[], None]) -> None:
        if self._is_busy() or self._has_work():
            self._busy_at = time.monotonic()
        elif not self._is_drained and time.monotonic() - self._busy_at > _QUIET_SECONDS:
            self._is_drained = True
            _log.info("nothing is left to do")
            on_drained()

    def _has_work(self) -> bool:
        if self._runtime.history.backlog(now=datetime.now(UTC)).ready:
            return True
        return any(self._broker.depth(queue).ready for queue in self._worker.queues)

    def _sign_off(self) -> None:
        try:
            self._runtime.workers.unregister(self._worker.id)
            if self._broker.is_in_memory:
                others = [worker.id for worker in self._runtime.workers.list_alive()]
                self._runtime.recovery.return_orphans(alive=others)
        except LogUnavailable as error:
            _log.warning("could not sign off: %s", error)
        self._publisher.close()
        self._watch.close()

    def _log_trouble(self, trouble: MailctlError | None) -> None:
        """Log a trouble when it begins and when it ends, not every turn."""
        kind = type(trouble) if trouble else None
        if kind and kind is not self._trouble:
            _log.error("%s", trouble)
        elif self._trouble and not kind:
            _log.info("the relay works again")
        self._trouble = kind
