"""Checks of the workers: whether any is alive, and whether each queue is consumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.celery_app import consumed_queues, queue_for_task
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.delivery_log.heartbeats import Worker, WorkerRegistry
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.domain.shell_command import mailctl_command, start_worker_fix
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from celery import Celery
    from sqlalchemy import Engine

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.domain.catalog import Catalog

_GROUP = CheckGroup(name="workers")


@dataclass(frozen=True, kw_only=True)
class DiscoveredWorkers:
    """The live workers that were found."""

    #: The workers that share the delivery log.
    heartbeats: tuple[Worker, ...] = ()
    #: The queues of every Celery worker that answers on the broker, by node name.
    queues_by_node: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Whether it is known which workers share the log: it could be read, or does not exist yet.
    are_known: bool = True

    @property
    def queues_by_worker(self) -> dict[str, tuple[str, ...]]:
        """The queues of each worker, by node name, from the log and from the broker."""
        return {worker.name: worker.queues for worker in self.heartbeats} | dict(self.queues_by_node)

    @property
    def unlogged_workers(self) -> dict[str, tuple[str, ...]]:
        """The queues of workers that do not share the log, by node name; none while that is unknown."""
        if not self.are_known:
            return {}
        known = {worker.name for worker in self.heartbeats}
        return {node: queues for node, queues in self.queues_by_node.items() if node not in known}


def check_workers(
    app: Celery | None,
    log: Engine | None,
    broker: BrokerInspector | None,
    *,
    catalog: Catalog,
    is_log_missing: bool,
) -> Generator[Finding, None, DiscoveredWorkers]:
    """Check for live workers, by heartbeats in the delivery log and by answers on the broker.

    Args:
        app: the Celery app, whose routes determine the queues of emails; None if it is not available.
        log: the engine of the delivery log; None if it cannot be read.
        broker: the inspector of the broker; None if it cannot be queried.
        catalog: the kinds of emails.
        is_log_missing: whether the log does not exist yet, so that it cannot have heartbeats.

    Returns:
        The workers that were found.
    """
    has_log = log is not None or is_log_missing
    if not has_log and (broker is None or broker.is_in_memory):
        yield _GROUP.skip("alive", "neither the delivery log nor the broker can be queried")
        return DiscoveredWorkers()
    try:
        heartbeats = _heartbeats(log)
    except MailctlError as error:
        yield _GROUP.error("alive", error)
        return DiscoveredWorkers()
    queues_by_node = yield from _ask_nodes(broker)
    workers = DiscoveredWorkers(heartbeats=heartbeats, queues_by_node=queues_by_node, are_known=has_log)
    yield _alive(workers)
    if app is not None and workers.queues_by_worker:
        yield from _consumed(app, catalog, workers)
    return workers


def needed_queues(app: Celery, catalog: Catalog = BUILT_IN_CATALOG) -> dict[str, list[str]]:
    """Return the queues that emails are sent to, each with its kinds, by the routes of the app."""
    needed: dict[str, list[str]] = {}
    for kind in catalog.kinds.values():
        needed.setdefault(kind.queue or queue_for_task(app, kind.full_task), []).append(kind.name)
    return needed


def _ask_nodes(broker: BrokerInspector | None) -> Generator[Finding, None, Mapping[str, tuple[str, ...]]]:
    """Return the queues of every worker that answers on the broker, by node name."""
    if broker is None:
        return {}
    try:
        return broker.queues_by_worker()
    except MailctlError as error:
        yield _GROUP.error("remote control", error)
        return {}


def _heartbeats(log: Engine | None) -> tuple[Worker, ...]:
    return (
        tuple(call_with_deadline(WorkerRegistry(log).list_alive, service="The delivery log"))
        if log is not None
        else ()
    )


def _alive(workers: DiscoveredWorkers) -> Finding:
    if not workers.queues_by_worker:
        return _GROUP.warn(
            "alive",
            "No worker is alive; emails wait in the delivery log.",
            fix=f"Start one: {mailctl_command('worker')}",
        )
    shown = "; ".join(
        f"{node} on {', '.join(queues)}" for node, queues in sorted(workers.queues_by_worker.items())
    )
    return _GROUP.ok("alive", f"{len(workers.queues_by_worker)}: {shown}")


def _consumed(app: Celery, catalog: Catalog, workers: DiscoveredWorkers) -> Iterator[Finding]:
    needed, usual = needed_queues(app, catalog), consumed_queues(app)
    for queue, kinds in needed.items():
        name, emails = f"queue {queue}", ", ".join(kinds)
        consumers = sum(queue in queues for queues in workers.queues_by_worker.values())
        if consumers:
            yield _GROUP.ok(name, f"{pluralize(consumers, 'worker')} for {emails}")
        else:
            detail = f"No worker consumes the queue of {emails}."
            yield _GROUP.warn(name, detail, fix=start_worker_fix(queue, default_queues=usual))
