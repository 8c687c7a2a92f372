"""Publishes due emails: the part of the relay that puts them on the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.due import BATCH_SIZE, EMAILS_OF_MESSAGE
from mailctl.enqueue.grouping import MAX_GROUPS_ON_BROKER, MAX_SINGLE_EMAILS, batch_size
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE
from mailctl.worker.relay_clocks import IntervalTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.due import GroupableEmails
    from mailctl.enqueue.publisher import Publisher
    from mailctl.runtime import Runtime
    from mailctl.worker.log_backlog import LogBacklog

#: Batches of campaigns that wait on the broker at most.
MAX_BATCHES_ON_BROKER = 10
#: Seconds between two searches for due emails that travel one by one, while others wait for room in groups:
#: such a search passes over all of these.
_OTHERS_SECONDS = 1.0
#: Seconds between two looks at the pace, by which batches and groups are sized.
_PACE_SECONDS = 1.0


class DueEmails:
    """Publishes the emails of the delivery log that are due.

    Args:
        runtime: the parts of this process.
        publisher: puts messages on the broker.
        broker: tells how many batches wait there.
        backlog: tells whether emails are left to processes that have a session.
        is_stopped: whether to return before everything is published.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        publisher: Publisher,
        broker: BrokerInspector,
        backlog: LogBacklog,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._broker = broker
        self._is_stopped = is_stopped
        self._backlog = backlog
        #: Whether a campaign had due emails at the last publication.
        self.has_campaign = False
        #: Whether emails were published in groups then, or wait for room.
        self.has_groups = False
        self._others_timer = IntervalTimer(_OTHERS_SECONDS)
        self._pace_timer = IntervalTimer(_PACE_SECONDS)
        #: How many emails one message of each queue gets.
        self._sizes = dict(EMAILS_OF_MESSAGE)

    @property
    def has_backlog(self) -> bool:
        """Whether emails wait in the log until there is room on the broker."""
        return self.has_campaign or self.has_groups

    def are_any_due(self) -> bool:
        """Return whether emails are due that this relay may publish, and nobody else is publishing.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        return self._runtime.publications.has_due() or self._has_due_campaign()

    def publish(self) -> None:
        """Publish what is due; of what waits for servers whose circuits are open, only probes.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        if self._publisher.is_backing_off:
            return
        self._runtime.pauses.park()
        failing = self._read_open_circuits()
        if failing:
            self._publish_probes(failing)
        if failing and len(failing) == len(self._runtime.circuits_by_server):
            return
        others = {"but_routes": self._runtime.mail_servers.routing.routes_by(failing)} if failing else {}
        groupable = self._publisher.groups.groupable()
        self.has_groups = bool(groupable.queues) and (
            self._backlog.are_sessions_in_use() or self._publish_groups(groupable, others)
        )
        if not self.has_groups or self._others_timer.restart_if_due():
            self._publish_others(besides=groupable if self.has_groups else None, others=others)
        self._publish_campaigns(others)

    def _publish_groups(self, groupable: GroupableEmails, others: Mapping[str, Collection[str]]) -> bool:
        """Publish a backlog in groups, as far as there is room; return whether there is one."""
        waiting = self._publisher.groups.count() if self.has_groups else 0
        if not waiting:
            enough = MAX_SINGLE_EMAILS + 1
            if self._runtime.publications.count_due(groupable, limit=enough, **others) < enough:
                return False
        for _ in range(MAX_GROUPS_ON_BROKER - waiting):
            size = self._size_for(GROUPS_QUEUE)
            if self._is_stopped() or not self._publisher.groups.publish_due(limit=size, **others):
                break
        return True

    def _publish_others(
        self, *, besides: GroupableEmails | None, others: Mapping[str, Collection[str]]
    ) -> None:
        while due := self._runtime.publications.reserve_due(limit=BATCH_SIZE, besides=besides, **others):
            self._publisher.publish_all(due)
            if self._is_stopped():
                return

    def _read_open_circuits(self) -> dict[str, Circuit]:
        circuits = {name: each.read() for name, each in self._runtime.circuits_by_server.items()}
        return {name: circuit for name, circuit in circuits.items() if circuit and circuit.is_open}

    def _publish_campaigns(self, others: Mapping[str, Collection[str]]) -> None:
        """Keep a few batches on the broker, and the rest in the log, where they can be paced and stopped."""
        self.has_campaign = self._has_due_campaign()
        if not self.has_campaign:
            return
        room = MAX_BATCHES_ON_BROKER - self._broker.depth(BULK_QUEUE).ready
        size = self._size_for(BULK_QUEUE)
        while room > 0 and self._publisher.publish_batch(limit=size, **others):
            room -= 1
            if self._is_stopped():
                return

    def _has_due_campaign(self) -> bool:
        return self._publisher.is_consumed(BULK_QUEUE) and self._runtime.campaigns.has_due()

    def _size_for(self, queue: str) -> int:
        """Return how many emails one message of a queue gets."""
        if self._pace_timer.restart_if_due():
            pace = self._runtime.campaigns.pace()
            for each, most in EMAILS_OF_MESSAGE.items():
                slots = self._publisher.count_slots(each)
                self._sizes[each] = batch_size(pace=pace, slots=slots, most=most)
        return self._sizes[queue]

    def _publish_probes(self, failing: Mapping[str, Circuit]) -> None:
        """Publish one email as a probe of each mail server for which emails wait, if a probe is due."""
        if len(self._runtime.circuits_by_server) == 1:
            if all(circuit.probe_at <= self._runtime.clock() for circuit in failing.values()):
                self._publish_probe()
            return
        routing = self._runtime.mail_servers.routing
        waiting = set(routing.routes_by(failing))
        for name, circuit in failing.items():
            routes = waiting.intersection(routing.routes_over(name))
            if routes and circuit.probe_at <= self._runtime.clock():
                self._publish_probe(only_routes=routes)

    def _publish_probe(self, *, only_routes: Collection[str] = ()) -> None:
        due = self._runtime.publications.reserve_due(limit=1, only_routes=only_routes)
        if not self._publisher.publish_all(due):
            self._publisher.publish_batch(limit=1, only_routes=only_routes)
