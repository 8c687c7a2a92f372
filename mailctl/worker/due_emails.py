"""Publishes due emails: the part of the relay that puts them on the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.enqueue.publisher import Publisher
    from mailctl.runtime import Runtime

#: Emails that are published together.
BATCH_SIZE = 100
#: Batches of campaigns that wait on the broker at most.
MAX_BATCHES_ON_BROKER = 10


class DueEmails:
    """Publishes the emails of the delivery log that are due.

    Args:
        runtime: the parts of this process.
        publisher: puts messages on the broker.
        broker: tells how many batches wait there.
        is_stopped: whether to return before everything is published.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        publisher: Publisher,
        broker: BrokerInspector,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._broker = broker
        self._is_stopped = is_stopped
        #: Whether a campaign had due emails at the last publication.
        self.has_campaign = False

    def publish(self) -> None:
        """Publish what is due; while the circuit is open, only a probe.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        if self._publisher.is_backing_off:
            return
        self._runtime.pauses.park()
        circuits = self._runtime.circuits
        circuit = circuits.read() if circuits else None
        if circuit is not None and circuit.is_open:
            self._publish_probe(circuit)
            return
        while due := self._runtime.publications.reserve_due(limit=BATCH_SIZE):
            self._publisher.publish_all(due)
            if self._is_stopped():
                return
        self._publish_campaigns()

    def _publish_campaigns(self) -> None:
        """Keep a few batches on the broker, and the rest in the log, where they can be paced and stopped."""
        self.has_campaign = self._publisher.is_consumed(BULK_QUEUE) and self._runtime.campaigns.has_due()
        if not self.has_campaign:
            return
        room = MAX_BATCHES_ON_BROKER - self._broker.depth(BULK_QUEUE).ready
        while room > 0 and self._publisher.publish_batch(limit=BATCH_SIZE):
            room -= 1
            if self._is_stopped():
                return

    def _publish_probe(self, circuit: Circuit) -> None:
        """Publish one email as a probe of the mail server, if a probe is due."""
        if circuit.probe_at <= self._runtime.clock():
            due = self._runtime.publications.reserve_due(limit=1)
            if not self._publisher.publish_all(due):
                self._publisher.publish_batch(limit=1)
