"""Recovers stuck emails: the part of the relay that puts back what a worker or the broker lost."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import MAX_QUOTA_PROBE_DELAY_SECONDS
from mailctl.delivery_log.due import EMAILS_OF_MESSAGE
from mailctl.domain.retry_policy import (
    LOST_MESSAGE_CHECK_SECONDS,
    UNCLAIMED_GRACE_SECONDS,
)
from mailctl.recorder.task_watch import OwnTaskWatch
from mailctl.settings import GROUPS_QUEUE
from mailctl.timefmt import pluralize
from mailctl.worker.feedback_follow_up import FeedbackFollowUp
from mailctl.worker.full_messages import FullMessageWatch
from mailctl.worker.partition_watch import PartitionWatch
from mailctl.worker.pool_watch import PoolWatch
from mailctl.worker.relay_clocks import IntervalTimer, LeaseTrust
from mailctl.worker.shared_refusals import SharedRefusalWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings

_log = logging.getLogger("mailctl.relay")

#: Seconds between two steps of the rollup, from which statistics over long spans come.
_ROLLUP_SECONDS = 10.0


class StuckEmails:
    """Recovers emails whose lease ran out, whose worker died, or whose message the broker lost.

    Args:
        runtime: the parts of this process.
        broker: tells how many messages it has.
        worker_id: the id of the worker in which this runs.
        is_busy: whether that worker is executing tasks.
        list_processes: returns the ids of the processes of that worker's pool.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        broker: BrokerInspector,
        worker_id: str,
        is_busy: Callable[[], bool] = lambda: False,
        list_processes: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._runtime = runtime
        self._recovery = runtime.recovery
        self._broker = broker
        self._lease = timedelta(seconds=runtime.settings.mailctl_lease_seconds)
        self._longest_wait = _longest_wait(runtime.settings)
        self._leases = LeaseTrust(self._lease.total_seconds(), wall=lambda: runtime.clock().timestamp())
        self._lost_message_timer = IntervalTimer(LOST_MESSAGE_CHECK_SECONDS)
        self._own_tasks = OwnTaskWatch(
            runtime, app=runtime.app, broker=broker, worker_id=worker_id, is_busy=is_busy
        )
        self._full_messages = FullMessageWatch(runtime, broker=broker, has_result=self._own_tasks.has_result)
        self._pool_watch = PoolWatch(list_processes)
        self._shared_refusals = SharedRefusalWatch(runtime)
        self._feedback = FeedbackFollowUp(runtime)
        self._rollup_timer = IntervalTimer(_ROLLUP_SECONDS)
        self._partitions = PartitionWatch(runtime)

    def distrust_leases(self) -> None:
        """Give live workers time to extend their leases, after an outage of the delivery log."""
        self._leases.distrust()

    def note_awake(self) -> None:
        """Note that this process runs; after a while in which it did not, leases are distrusted."""
        self._leases.note_awake()

    def recover(self) -> None:
        """Put stuck emails back, and expire those that are too late.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        self._release_of_dead_processes()
        if self._leases.check():
            self._recovery.release_stale(max_resends=self._runtime.settings.resends_in_doubt)
        if self._leases.is_clock_set_back():
            self._recovery.correct_future_times(longest=self._longest_wait)
        self._recovery.expire()
        self._shared_refusals.check()
        self._feedback.check()
        if self._rollup_timer.restart_if_due():
            self._runtime.rollup.advance()
        self._partitions.check()
        alive = self._runtime.workers.list_alive()
        self._recovery.return_orphans(alive=[worker.id for worker in alive])
        if not any(GROUPS_QUEUE in worker.queues for worker in alive):
            self._recovery.return_groups()
        if self._broker.is_in_memory:
            self._own_tasks.check()
        elif self._lost_message_timer.restart_if_due():
            self._return_lost()
            self._own_tasks.check()
            self._full_messages.check()

    def _release_of_dead_processes(self) -> None:
        """Release what processes of the pool were sending when they died, before their leases end."""
        released = self._recovery.release_of_dead_processes(
            list_alive=self._pool_watch.list_alive,
            max_resends=self._runtime.settings.resends_in_doubt,
        )
        if released:
            _log.warning("a process of the pool died while sending %s", pluralize(released, "email"))

    def _return_lost(self) -> None:
        """Put back emails whose messages the broker lost, comparing each queue with the delivery log."""
        now = self._runtime.clock()
        queued_before = now - timedelta(seconds=min(UNCLAIMED_GRACE_SECONDS, self._lease.total_seconds()))
        for queue in self._runtime.history.queues_with_unclaimed(queued_before=queued_before):
            lost = self._return_lost_of(queue, now=now, queued_before=queued_before)
            if lost:
                lost_messages = pluralize(lost, "message")
                _log.warning("the broker lost %s of queue %r; publishing again", lost_messages, queue)

    def _return_lost_of(self, queue: str, *, now: datetime, queued_before: datetime) -> int:
        """Put back the lost emails of a queue, and return how many are known to be lost."""
        depth = self._broker.depth(queue)
        emails_each = EMAILS_OF_MESSAGE.get(queue, 1)
        if depth.unacked is None:
            # The broker does not tell what workers hold, so that is published again, too: only the first of
            # an email's messages claims it.
            self._recovery.return_lost(
                queue=queue, queued_before=now - self._lease, on_broker=depth.ready * emails_each
            )
            return 0
        on_broker = (depth.ready + depth.unacked) * emails_each
        lost = self._recovery.return_lost(queue=queue, queued_before=queued_before, on_broker=on_broker)
        if depth.unacked:
            # A killed worker's messages stay unacknowledged for the long visibility timeout of Redis.
            lost += self._recovery.return_lost(
                queue=queue, queued_before=now - self._lease, on_broker=depth.ready * emails_each
            )
        return lost


def _longest_wait(settings: Settings) -> timedelta:
    """Return the longest time that a lease or a retry delay can name."""
    retry_seconds = max(settings.mailctl_retry_cap_seconds, MAX_QUOTA_PROBE_DELAY_SECONDS)
    return timedelta(seconds=max(settings.mailctl_lease_seconds, retry_seconds))
