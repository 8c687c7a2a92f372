"""The workers: listing, pinging and stopping them, by heartbeats in the log and by Celery's remote control.

A worker that does not answer may still be alive: it may be too busy, or remote control may not reach it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.checks.agreement import find_disagreements
from mailctl.checks.silent_workers import describe_silence
from mailctl.delivery_log.heartbeats import FORGOTTEN_AFTER_SECONDS, is_suspended
from mailctl.delivery_log.queries.queue_stats import QueueStats, Throughput
from mailctl.delivery_log.queries.stalls import find_stalled_workers
from mailctl.delivery_log.queries.unfinished import count_unfinished
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import BrokerUnavailable, NotFound
from mailctl.monitoring.worker_signals import STOP_REQUESTED, StopResult, stop_obstacle, terminate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.broker.control import Node, RemoteControl
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.process_identity import ProcessIdentity
    from mailctl.delivery_log.queries.unfinished import UnfinishedEmails
    from mailctl.errors import MailctlError
    from mailctl.runtime import Runtime

#: How long `ping` waits for a heartbeat; a live worker writes one within this time.
_HEARTBEAT_WAIT_SECONDS = 2.8
_POLL_SECONDS = 0.1


class PingResult(StrEnum):
    """The result of pinging a worker."""

    ANSWERED = "yes"
    NO_ANSWER = "no answer"  #: the worker did not answer in time
    NOT_ASKED = "not asked"  #: remote control cannot be used


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """The status of one live worker."""

    name: str
    host: str | None
    pid: int | None
    pool: str | None
    concurrency: int | None
    queues: tuple[str, ...]
    #: The number of emails it is sending; None for a worker that does not share this log.
    busy: int | None
    throughput: Throughput | None
    since: datetime | None
    shares_log: bool
    answer: PingResult
    #: Whether `stop` can reach it from this process.
    can_be_stopped: bool
    #: What it runs with; None for a worker that does not share this log.
    identity: ProcessIdentity | None = None
    #: Seconds by which its clock is ahead of the database's; None if that is not known.
    clock_skew: float | None = None
    #: What is wrong with it, in clauses.
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeadWorker:
    """A worker that has neither signed off nor given a sign of life for a while."""

    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    #: The number of emails that it was sending, and until when its leases keep them.
    held: int
    lease_until: datetime | None
    #: Whether it is only stopped by a signal, and can be continued.
    is_suspended: bool


@dataclass(frozen=True, kw_only=True)
class WorkerList:
    """All live workers."""

    workers: tuple[WorkerStatus, ...]
    #: Why remote control could not be used; the list then holds only workers that share the log.
    broker_error: MailctlError | None
    #: What differs between this process and all workers, and which workers are silent, in clauses.
    problems: tuple[str, ...] = ()
    #: The workers that did not sign off recently, the latest first.
    dead: tuple[DeadWorker, ...] = ()


class WorkerService:
    """Lists, pings and stops workers.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stats = QueueStats(runtime.engine)

    def list_workers(self) -> WorkerList:
        """Return the live workers: those with a heartbeat in the log, then those that answer on the broker.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        workers = self._runtime.workers.list_alive()
        nodes, broker_error = self._inspect_nodes()
        problems = self._find_problems(workers)
        busy, throughput = self._stats.sending_by_worker(workers), self._stats.throughput()
        sharing_log = [
            _from_heartbeat(
                worker,
                busy=busy.get(worker.name, 0),
                throughput=throughput.get(worker.name, Throughput()),
                answer=_ping_result(worker.name, nodes),
                can_be_stopped=self._can_be_stopped(worker, nodes),
                problems=problems.get(worker.name, ()),
            )
            for worker in workers
        ]
        names = {worker.name for worker in workers}
        others = [_from_node(node) for name, node in sorted((nodes or {}).items()) if name not in names]
        return WorkerList(
            workers=(*sharing_log, *others),
            broker_error=broker_error,
            problems=(*problems.get("", ()), *self._find_silent()),
            dead=self.list_dead(),
        )

    def list_dead(self) -> tuple[DeadWorker, ...]:
        """Return the workers that died within the last hour, and what they held, the latest first.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        silent = self._runtime.workers.list_silent(within_seconds=FORGOTTEN_AFTER_SECONDS)
        if not silent:
            return ()
        groups = count_unfinished(self._runtime.engine, now=self._runtime.clock())
        alive = {worker.name: worker for worker in self._runtime.workers.list_alive()}
        orphans = [group for group in groups if not group.may_be_held_by(alive.get(group.worker or ""))]
        found = [_dead_worker(worker, orphans) for worker in silent]
        return tuple(sorted(found, key=lambda worker: worker.seen_at, reverse=True))

    def _find_problems(self, workers: Sequence[Worker]) -> dict[str, tuple[str, ...]]:
        """Return what is wrong with workers, by node name; "" stands for this process."""
        if not workers:
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for each in find_disagreements(workers, self._runtime.identity):
            for name in each.workers or ("",):
                found[name] = (*found.get(name, ()), *([each.detail] if each.is_failure else []))
        for stalled in find_stalled_workers(self._runtime.engine, workers, now=self._runtime.clock()):
            found[stalled.worker] = (*found.get(stalled.worker, ()), str(stalled))
        now = self._runtime.clock()
        for worker in filter(is_suspended, workers):
            suspended = describe_silence(worker, now=now, is_suspended=True)
            found[worker.name] = (*found.get(worker.name, ()), suspended)
        return found

    def _find_silent(self) -> tuple[str, ...]:
        """Return the workers that have not signed off and are not alive, in clauses."""
        now = self._runtime.clock()
        return tuple(
            describe_silence(worker, now=now, is_suspended=is_suspended(worker))
            for worker in self._runtime.workers.list_silent()
        )

    def _inspect_nodes(self) -> tuple[dict[str, Node] | None, MailctlError | None]:
        """Return the nodes that answer on the broker, or None and the error if the broker does not answer."""
        if self._control is None:
            return None, None
        try:
            return self._control.nodes(), None
        except BrokerUnavailable as error:
            return None, error

    def _can_be_stopped(self, worker: Worker, nodes: dict[str, Node] | None) -> bool:
        return not stop_obstacle(worker) if self._control is None else worker.name in (nodes or {})

    def ping(self, names: Sequence[str] = ()) -> dict[str, PingResult]:
        """Ping workers; return the result of each, by its node name.

        Where the broker is private to each process, the next heartbeat in the log counts as the answer.

        Args:
            names: the node names to ping; empty pings all known workers.

        Raises:
            NotFound: one of the workers does not exist, or no worker is alive.
            BrokerUnavailable: the broker does not answer.
        """
        workers = self._select_workers(names)
        if self._control is None:
            return self._await_heartbeats(workers)
        wanted = list(names) or [worker.name for worker in workers]
        answered = self._ping_known(self._control, names, workers)
        pinged = dict.fromkeys([*wanted, *([] if names else sorted(answered))])
        if not pinged:
            raise NotFound(
                "No worker has a heartbeat in this log, and none answers on the broker.", fix=_start_fix()
            )
        return {name: PingResult.ANSWERED if name in answered else PingResult.NO_ANSWER for name in pinged}

    def stop(self, names: Sequence[str]) -> list[StopResult]:
        """Ask workers to stop once they have finished their current emails; return the result of each.

        Raises:
            NotFound: one of the workers does not exist.
            BrokerUnavailable: the broker does not answer; no worker was told to stop.
        """
        workers = self._select_workers(names)
        if self._control is None:
            return [terminate(worker) for worker in workers]
        answered = self._ping_known(self._control, names, workers)
        reachable = [name for name in names if name in answered]
        if reachable:
            self._control.stop(reachable)
        return [
            StopResult(name=name, is_requested=True, detail=STOP_REQUESTED)
            if name in answered
            else StopResult(name=name, is_requested=False, detail="no answer")
            for name in names
        ]

    def _select_workers(self, names: Sequence[str]) -> list[Worker]:
        """Return the workers to ping or stop; with remote control, all workers of the log.

        Raises:
            NotFound: a worker is not alive, and there is no remote control that might know it.
        """
        alive = self._runtime.workers.list_alive()
        if self._control is not None:
            return alive
        known = {worker.name for worker in alive}
        missing = [name for name in names if name not in known]
        if missing:
            fix = f"Live workers: {', '.join(sorted(known)) or 'none'}."
            raise NotFound(f"Worker {missing[0]!r} is not alive.", fix=fix)
        if not alive:
            raise NotFound("No worker has a heartbeat in this log.", fix=_start_fix())
        return [worker for worker in alive if not names or worker.name in names]

    def _ping_known(
        self, control: RemoteControl, names: Sequence[str], workers: Sequence[Worker]
    ) -> frozenset[str]:
        """Return the names of the workers that answer.

        Raises:
            NotFound: a worker neither answers nor has a heartbeat in the log.
        """
        answered = control.ping(names)
        known = answered | {worker.name for worker in workers}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise NotFound(
                f"Worker {unknown[0]!r} has no heartbeat in this log and does not answer on the broker.",
                fix=f"List the live workers: {mailctl_command('workers')}",
            )
        return answered

    def _await_heartbeats(self, workers: Sequence[Worker]) -> dict[str, PingResult]:
        waiting = {worker.id: worker.seen_at for worker in workers}
        deadline = time.monotonic() + _HEARTBEAT_WAIT_SECONDS
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            for worker in self._runtime.workers.list_alive():
                if worker.seen_at > waiting.get(worker.id, worker.seen_at):
                    del waiting[worker.id]
        silent = {worker.name for worker in workers if worker.id in waiting}
        return {
            worker.name: PingResult.NO_ANSWER if worker.name in silent else PingResult.ANSWERED
            for worker in workers
        }

    @cached_property
    def _control(self) -> RemoteControl | None:
        """Remote control; None where the broker is private to each process."""
        if self._runtime.settings.is_broker_private:
            return None
        from mailctl.broker.control import RemoteControl
        from mailctl.celery_app import has_memory_broker

        return None if has_memory_broker(self._runtime.app) else RemoteControl(self._runtime.app)


def _dead_worker(worker: Worker, groups: Sequence[UnfinishedEmails]) -> DeadWorker:
    mine = [group for group in groups if group.may_be_held_by(worker)]
    leases = [group.lease_until for group in mine if group.lease_until is not None]
    return DeadWorker(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        queues=worker.queues,
        started_at=worker.started_at,
        seen_at=worker.seen_at,
        held=sum(group.count for group in mine),
        lease_until=max(leases, default=None),
        is_suspended=is_suspended(worker),
    )


def _start_fix() -> str:
    return f"Start one: {mailctl_command('worker')}"


def _ping_result(name: str, nodes: dict[str, Node] | None) -> PingResult:
    if nodes is None:
        return PingResult.NOT_ASKED
    return PingResult.ANSWERED if name in nodes else PingResult.NO_ANSWER


def _from_heartbeat(
    worker: Worker,
    *,
    busy: int,
    throughput: Throughput,
    answer: PingResult,
    can_be_stopped: bool,
    problems: tuple[str, ...],
) -> WorkerStatus:
    return WorkerStatus(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        pool=worker.pool,
        concurrency=worker.concurrency,
        queues=worker.queues,
        busy=busy,
        throughput=throughput,
        since=worker.started_at,
        shares_log=True,
        answer=answer,
        can_be_stopped=can_be_stopped,
        identity=worker.identity,
        clock_skew=worker.clock_skew,
        problems=problems,
    )


def _from_node(node: Node) -> WorkerStatus:
    since = (
        None if node.uptime_seconds is None else datetime.now(UTC) - timedelta(seconds=node.uptime_seconds)
    )
    return WorkerStatus(
        name=node.name,
        host=None,
        pid=node.pid,
        pool=node.pool,
        concurrency=node.concurrency,
        queues=node.queues,
        busy=None,
        throughput=None,
        since=since,
        shares_log=False,
        answer=PingResult.ANSWERED,
        can_be_stopped=True,
    )
