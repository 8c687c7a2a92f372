"""The workers: is anybody there, and does each queue that emails go to have one?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.celery_app import queue_of
from mailctl.checks.finding import Finding, Group
from mailctl.command import mailctl, start_worker_fix
from mailctl.deadlines import ask
from mailctl.delivery_log.heartbeats import Worker, Workers
from mailctl.domain.catalog import BUILT_IN
from mailctl.errors import MailctlError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from celery import Celery
    from sqlalchemy import Engine

    from mailctl.broker.inspector import Broker
    from mailctl.domain.catalog import Catalog

_GROUP = Group(name="workers")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Who works."""

    #: The workers of ours that share the delivery log.
    heartbeats: tuple[Worker, ...] = ()
    #: The queues of every Celery worker that answers on the broker, by node name.
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def queues(self) -> dict[str, tuple[str, ...]]:
        """The queues of each worker, by node name, whoever told of it."""
        return {worker.name: worker.queues for worker in self.heartbeats} | dict(self.nodes)

    @property
    def strangers(self) -> dict[str, tuple[str, ...]]:
        """The queues of workers that do not share the delivery log, by node name."""
        known = {worker.name for worker in self.heartbeats}
        return {node: queues for node, queues in self.nodes.items() if node not in known}


def check_workers(
    app: Celery | None,
    log: Engine | None,
    broker: Broker | None,
    *,
    catalog: Catalog,
    is_log_missing: bool,
) -> Generator[Finding, None, Roster]:
    """Look for workers in the delivery log and on the broker.

    Args:
        app: says which queues emails go to.
        log: the delivery log; None where it cannot be asked.
        broker: None where it cannot be asked.
        catalog: the kinds that there are.
        is_log_missing: nobody has made the log yet, so that no worker can be in it.

    Returns:
        Who works.
    """
    has_log = log is not None or is_log_missing
    if not has_log and (broker is None or broker.is_in_memory):
        yield _GROUP.skip("alive", "there is neither a delivery log nor a broker to ask")
        return Roster()
    try:
        roster = Roster(heartbeats=_heartbeats(log), nodes=broker.consumers() if broker else {})
    except MailctlError as error:
        yield _GROUP.error("alive", error)
        return Roster()
    yield _alive(roster)
    if app is not None and roster.queues:
        yield from _consumed(needed_queues(app, catalog), roster)
    return roster


def needed_queues(app: Celery, catalog: Catalog = BUILT_IN) -> dict[str, list[str]]:
    """Return the queues that emails go to by the routes of the app, each with the kinds that do."""
    needed: dict[str, list[str]] = {}
    for kind in catalog.kinds.values():
        needed.setdefault(kind.queue or queue_of(app, kind.full_task), []).append(kind.name)
    return needed


def _heartbeats(log: Engine | None) -> tuple[Worker, ...]:
    return tuple(ask(Workers(log).alive, whom="The delivery log")) if log is not None else ()


def _alive(roster: Roster) -> Finding:
    if not roster.queues:
        return _GROUP.warn(
            "alive",
            "no worker is alive: emails wait in the delivery log",
            fix=f"Start one: {mailctl('worker')}",
        )
    shown = "; ".join(f"{node} on {', '.join(queues)}" for node, queues in sorted(roster.queues.items()))
    return _GROUP.ok("alive", f"{len(roster.queues)}: {shown}")


def _consumed(needed: Mapping[str, list[str]], roster: Roster) -> Iterator[Finding]:
    for queue, kinds in needed.items():
        name, reason = f"queue {queue}", f"takes {', '.join(kinds)}"
        consumers = sum(queue in queues for queues in roster.queues.values())
        if consumers:
            yield _GROUP.ok(name, f"{reason}; workers: {consumers}")
        else:
            yield _GROUP.warn(name, f"{reason}, and no worker consumes it", fix=start_worker_fix(queue))
