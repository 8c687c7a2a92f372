"""The facts of the delivery log that several detectors need, each read once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import read_circuits_in_use
from mailctl.delivery_log.heartbeats import is_suspended
from mailctl.delivery_log.queries.unfinished import UnfinishedEmails, count_unfinished
from mailctl.domain.states import CLAIMABLE_STATES, State
from mailctl.errors import MailctlError
from mailctl.monitoring.campaigns import list_campaigns
from mailctl.monitoring.errors import find_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailctl.broker.shared_queues import MailctlWorker
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.pauses import Pause
    from mailctl.monitoring.campaigns import CampaignStatus
    from mailctl.monitoring.errors import ErrorGroup
    from mailctl.runtime import Runtime

#: The period of errors that an incident looks at; what has begun in its last quarter is new.
ERROR_WINDOW = timedelta(hours=1)
#: How old an error may be to be part of what is wrong now.
RECENT = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class RecentFacts:
    """What the log has of the last minutes, which takes longest to read and changes slowly."""

    #: The errors of the last hour that still occur.
    errors: tuple[ErrorGroup, ...]
    #: The campaigns whose emails have changed recently.
    campaigns: tuple[CampaignStatus, ...]


def read_recent_facts(runtime: Runtime) -> RecentFacts:
    """Return the errors that still occur, and the campaigns that are being sent.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    now = runtime.clock()
    found = find_errors(runtime, since=now - ERROR_WINDOW)
    return RecentFacts(
        errors=tuple(group for group in found if group.last_at >= now - RECENT),
        # Nothing is said of their ends here, and the workers are read once, at another place.
        campaigns=tuple(list_campaigns(runtime, changed_since=now - RECENT, is_served=True)),
    )


class LogFacts:
    """Facts of the delivery log at one moment.

    Args:
        runtime: the components of this process.
        recent: what was read of the last minutes a moment ago; None reads it when it is needed.
    """

    def __init__(self, runtime: Runtime, *, recent: RecentFacts | None = None) -> None:
        self.runtime = runtime
        self._known_recent = recent
        self.now = runtime.clock()
        #: Returns the queues of each worker that answers on the broker, by node name. None if the broker
        #: cannot be asked.
        self.ask_workers: Callable[[], Mapping[str, tuple[str, ...]]] | None = None
        #: Returns which of these workers are mailctl's and consume queues of emails.
        self.find_other_workers: Callable[[Mapping[str, tuple[str, ...]]], Sequence[MailctlWorker]] | None = (
            None
        )

    @cached_property
    def workers(self) -> tuple[Worker, ...]:
        """The live workers that share the log."""
        return tuple(self.runtime.workers.list_alive())

    @cached_property
    def silent(self) -> tuple[Worker, ...]:
        """The workers that have not signed off and are not alive."""
        return tuple(self.runtime.workers.list_silent())

    @cached_property
    def suspended(self) -> tuple[Worker, ...]:
        """The workers that are stopped by a signal."""
        # One of those that were alive a moment ago may be silent by now.
        known = {worker.id: worker for worker in (*self.workers, *self.silent)}
        return tuple(worker for worker in known.values() if is_suspended(worker))

    @cached_property
    def unfinished(self) -> tuple[UnfinishedEmails, ...]:
        """The unfinished emails in groups."""
        return tuple(count_unfinished(self.runtime.engine, now=self.now))

    @cached_property
    def pauses(self) -> tuple[Pause, ...]:
        """The pauses that operators have set."""
        return tuple(self.runtime.pauses.read())

    @cached_property
    def circuits(self) -> tuple[Circuit, ...]:
        """The circuits to the mail servers of live workers, or else of silent ones, that have failed."""
        return tuple(read_circuits_in_use(self.runtime.engine, self.workers or self.silent))

    @cached_property
    def recent(self) -> RecentFacts:
        """The errors that still occur, and the campaigns that are being sent."""
        return self._known_recent or read_recent_facts(self.runtime)

    @property
    def errors(self) -> tuple[ErrorGroup, ...]:
        """The errors of the last hour that still occur."""
        return self.recent.errors

    @cached_property
    def other_consumers(self) -> dict[str, tuple[str, ...]]:
        """The queues of workers that do not share the log, by node name, as far as they were asked."""
        if self.ask_workers is None:
            return {}
        try:
            found = self.ask_workers()
        except MailctlError:
            return {}
        # Read again: a worker that has just been started may have answered, and written its first heartbeat.
        alive = self.runtime.workers.list_alive() if found else ()
        known = {worker.name for worker in (*alive, *self.workers, *self.silent)}
        return {name: queues for name, queues in found.items() if name not in known}

    @cached_property
    def other_logs(self) -> Sequence[MailctlWorker]:
        """The workers of mailctl that consume queues of emails and have another log."""
        if self.find_other_workers is None or not self.other_consumers:
            return ()
        try:
            return self.find_other_workers(self.other_consumers)
        except MailctlError:
            return ()

    @property
    def consumed(self) -> frozenset[str]:
        """The queues that live workers consume."""
        return self.own_queues.union(*self.other_consumers.values())

    @cached_property
    def own_queues(self) -> frozenset[str]:
        """The queues of the live workers that share the log."""
        return frozenset(queue for worker in self.workers for queue in worker.queues)

    @cached_property
    def ready_by_queue(self) -> dict[str, int]:
        """How many emails wait for a worker, by queue; paused and scheduled ones do not."""
        found: dict[str, int] = {}
        for group in self.unfinished:
            if self.is_ready(group):
                found[group.queue] = found.get(group.queue, 0) + group.count
        return found

    def count(self, is_meant: Callable[[UnfinishedEmails], bool]) -> int:
        """Return how many unfinished emails meet a condition."""
        return sum(group.count for group in self.unfinished if is_meant(group))

    def count_covered(self, pause: Pause) -> int:
        """Return how many emails a pause holds up."""
        return self.count(
            lambda group: group.state in CLAIMABLE_STATES and not group.is_scheduled and pause.covers(group)
        )

    def is_ready(self, group: UnfinishedEmails) -> bool:
        """Whether nothing but a worker is missing to emails."""
        is_paused = any(pause.covers(group) for pause in self.pauses)
        return group.state in (State.PENDING, State.QUEUED) and not group.is_later and not is_paused
