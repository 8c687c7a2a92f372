"""The workers: who is alive and how busy, by the log and by remote control; asking them, and stopping them.

"No answer" is something else than "none": a worker may be too busy to answer, or out of reach from here.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS
from mailctl.delivery_log.queries.queue_stats import QueueStats, Throughput
from mailctl.errors import BrokerUnavailable, NotFound
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.broker.control import Node, RemoteControl
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.errors import MailctlError
    from mailctl.runtime import Runtime

#: Seconds for which a heartbeat is waited for; a living worker writes one within that.
_HEARTBEAT_WAIT_SECONDS = 2.8
_POLL_SECONDS = 0.1
#: Seconds of silence after which the process of that number may be another.
_MAX_SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS


class PingResult(StrEnum):
    """What a question to a worker came to."""

    ANSWERED = "yes"  #: it answers
    NO_ANSWER = "no answer"  #: it did not within the time given
    NOT_ASKED = "not asked"  #: remote control does not reach it


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker that is alive."""

    name: str
    host: str | None
    pid: int | None
    pool: str | None
    concurrency: int | None
    queues: tuple[str, ...]
    #: Emails that it is sending; None for one that does not share this log.
    busy: int | None
    throughput: Throughput | None
    since: datetime | None
    shares_log: bool
    answer: PingResult
    #: Whether it can be told to stop from here.
    can_be_stopped: bool


@dataclass(frozen=True, kw_only=True)
class WorkerList:
    """Who works."""

    workers: tuple[WorkerStatus, ...]
    #: Why remote control could not be used; then only what the log knows is here.
    broker_error: MailctlError | None


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """What became of telling a worker to stop."""

    name: str
    is_requested: bool
    detail: str


class WorkerService:
    """Answers for the workers, and stops them.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._flow = QueueStats(runtime.engine)

    def list_workers(self) -> WorkerList:
        """Return who is alive: by heartbeats in the log, and by answers on the broker.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        workers = self._runtime.workers.list_alive()
        busy, throughput = self._flow.sending_by_worker(), self._flow.throughput()
        nodes: dict[str, Node] | None = None
        trouble: MailctlError | None = None
        if self._control is not None:
            try:
                nodes = self._control.nodes()
            except BrokerUnavailable as error:
                trouble = error
        heard = nodes or {}
        ours = [
            _from_heartbeat(
                worker,
                busy=busy.get(worker.name, 0),
                throughput=throughput.get(worker.name, Throughput()),
                answer=_ping_result(worker.name, nodes),
                can_be_stopped=worker.name in (nodes or {})
                or (self._control is None and not _stop_obstacle(worker)),
            )
            for worker in workers
        ]
        names = {worker.name for worker in workers}
        strangers = [_from_node(node) for name, node in sorted(heard.items()) if name not in names]
        return WorkerList(workers=(*ours, *strangers), broker_error=trouble)

    def ping(self, names: Sequence[str] = ()) -> dict[str, PingResult]:
        """Ask workers for a sign of life; return what each answered.

        On a broker that is private to each process, the sign is the next heartbeat in the log.

        Args:
            names: whom; all that are known if it is empty.

        Raises:
            NotFound: there is no such worker, or none at all.
            BrokerUnavailable: the broker does not answer.
        """
        workers = self._select_workers(names)
        if self._control is None:
            return self._await_heartbeats(workers)
        wanted = list(names) or [worker.name for worker in workers]
        heard = self._ping_known(self._control, names, workers)
        everybody = dict.fromkeys([*wanted, *([] if names else sorted(heard))])
        if not everybody:
            raise NotFound(
                "No worker is alive in this log, and none answers on the broker.", fix=_start_fix()
            )
        return {name: PingResult.ANSWERED if name in heard else PingResult.NO_ANSWER for name in everybody}

    def stop(self, names: Sequence[str]) -> list[StopResult]:
        """Tell workers to stop when they have finished what they have in hand; return what became of it.

        Raises:
            NotFound: there is no such worker.
            BrokerUnavailable: the broker does not answer; nobody was told.
        """
        workers = self._select_workers(names)
        if self._control is None:
            return [self._terminate(worker) for worker in workers]
        heard = self._ping_known(self._control, names, workers)
        listening = [name for name in names if name in heard]
        if listening:
            self._control.stop(listening)
        return [
            StopResult(name=name, is_requested=True, detail=_STOP_REQUESTED)
            if name in heard
            else StopResult(name=name, is_requested=False, detail="no answer")
            for name in names
        ]

    def _select_workers(self, names: Sequence[str]) -> list[Worker]:
        """Return the workers of the log with these names; all if there are no names.

        Raises:
            NotFound: one is not alive, and no worker can be known otherwise.
        """
        alive = self._runtime.workers.list_alive()
        if self._control is not None:
            return alive
        known = {worker.name for worker in alive}
        missing = [name for name in names if name not in known]
        if missing:
            shown = ", ".join(sorted(known)) or "none"
            raise NotFound(f"No worker {missing[0]!r} is alive.", fix=f"Those that are: {shown}.")
        if not alive:
            raise NotFound("No worker is alive in this log.", fix=_start_fix())
        return [worker for worker in alive if not names or worker.name in names]

    def _ping_known(
        self, control: RemoteControl, names: Sequence[str], workers: Sequence[Worker]
    ) -> frozenset[str]:
        """Return who answers.

        Raises:
            NotFound: one does not, and the log does not know it either.
        """
        heard = control.ping(names)
        known = heard | {worker.name for worker in workers}
        strangers = [name for name in names if name not in known]
        if strangers:
            raise NotFound(
                f"No worker {strangers[0]!r} is alive in this log, and none answers on the broker.",
                fix=f"See who is: {mailctl_command('workers')}",
            )
        return heard

    def _await_heartbeats(self, workers: Sequence[Worker]) -> dict[str, PingResult]:
        seen = {worker.id: worker.seen_at for worker in workers}
        waiting, until = dict(seen), time.monotonic() + _HEARTBEAT_WAIT_SECONDS
        while waiting and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            for worker in self._runtime.workers.list_alive():
                if worker.seen_at > waiting.get(worker.id, worker.seen_at):
                    del waiting[worker.id]
        silent = {worker.name for worker in workers if worker.id in waiting}
        return {
            worker.name: PingResult.NO_ANSWER if worker.name in silent else PingResult.ANSWERED
            for worker in workers
        }

    def _terminate(self, worker: Worker) -> StopResult:
        """End a worker of this host by its process number, which is surely its own only while it beats."""
        if obstacle := _stop_obstacle(worker):
            return StopResult(name=worker.name, is_requested=False, detail=obstacle)
        try:
            os.kill(worker.pid, signal.SIGTERM)
        except OSError as error:
            detail = f"process {worker.pid}: {(error.strerror or 'cannot be stopped').lower()}"
            return StopResult(name=worker.name, is_requested=False, detail=detail)
        return StopResult(name=worker.name, is_requested=True, detail=_STOP_REQUESTED)

    @cached_property
    def _control(self) -> RemoteControl | None:
        """Remote control; None where the broker is private to each process."""
        if self._runtime.settings.is_broker_private:
            return None
        from mailctl.broker.control import RemoteControl
        from mailctl.celery_app import has_memory_broker

        return None if has_memory_broker(self._runtime.app) else RemoteControl(self._runtime.app)


_STOP_REQUESTED = "told to stop; it finishes what it has in hand"


def _start_fix() -> str:
    return f"Start one: {mailctl_command('worker')}"


def _ping_result(name: str, nodes: dict[str, Node] | None) -> PingResult:
    if nodes is None:
        return PingResult.NOT_ASKED
    return PingResult.ANSWERED if name in nodes else PingResult.NO_ANSWER


def _stop_obstacle(worker: Worker) -> str:
    """Return why the process of a worker cannot be ended from here; "" if it can."""
    if worker.host != socket.gethostname():
        return f"runs on host {worker.host}: stop process {worker.pid} there"
    silence = datetime.now(UTC) - worker.seen_at
    if silence > timedelta(seconds=_MAX_SILENCE_SECONDS):
        return f"no answer: silent for {silence.total_seconds():.0f} s; look at process {worker.pid}"
    return ""


def _from_heartbeat(
    worker: Worker, *, busy: int, throughput: Throughput, answer: PingResult, can_be_stopped: bool
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
