"""The evidence collector: queries log, broker and workers about an email, each with a deadline."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailctl.checks.agreement import find_disagreements
from mailctl.delivery_log.circuits import read_circuits_in_use
from mailctl.delivery_log.discovery import find_homes_with_email
from mailctl.delivery_log.heartbeats import is_suspended
from mailctl.delivery_log.idempotency import IdempotencyKeys
from mailctl.delivery_log.pool_processes import count_replaced_processes
from mailctl.delivery_log.queries.queue_stats import QueueRate, QueueStats
from mailctl.delivery_log.queries.stalls import STALL_SECONDS, find_stalled_workers
from mailctl.delivery_log.send_limits import read_learned_limits, read_learned_rate
from mailctl.diagnosis.default_queues import default_queues
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.diagnosis.models import Case, Evidence, SilentWorker, UnknownId
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import DEFAULT_SERVER, domain_of
from mailctl.domain.send_rates import domain_scope, server_scope
from mailctl.domain.states import ACCEPTED_STATES, State
from mailctl.errors import BrokerRefused, BrokerUnavailable, ConfigurationError
from mailctl.settings import BULK_QUEUE
from mailctl.settings.hosts import server_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.broker.messages import MessageSearchResult
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.domain.models import CeleryResult, Email, Event
    from mailctl.runtime import Runtime

_WAITING_STATES = (State.PENDING, State.QUEUED)


class EvidenceCollector:
    """Collects the evidence about an email or an unknown id.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._idempotency_keys = IdempotencyKeys(runtime.engine)
        self._stats = QueueStats(runtime.engine)
        self._eligibility = EligibilityChecker(runtime)

    @property
    def is_broker_private(self) -> bool:
        """Whether no other process can read the broker and the results; then Celery need not be imported."""
        return self._runtime.settings.is_broker_private

    @property
    def log(self) -> str:
        """The address of the delivery log, without its password."""
        return self._runtime.masked_log_url

    @cached_property
    def broker(self) -> BrokerInspector:
        """The inspector of the app's broker."""
        from mailctl.broker.inspector import BrokerInspector

        return BrokerInspector(self._runtime.app)

    def collect(self, email: Email, events: tuple[Event, ...], *, is_thorough: bool = False) -> Case:
        """Return an email with the evidence that its state requires.

        Args:
            email: the email.
            events: its events, oldest first.
            is_thorough: whether to look up its idempotency keys and the available actions, and to compare the
                workers, as well.
        """
        now = self._runtime.clock()
        found: dict[str, Any] = (
            {} if email.is_final else self._collect_unfinished(email, now=now, is_thorough=is_thorough)
        )
        if email.state in (State.SUPPRESSED, State.FAILED):
            found["suppression"] = self._runtime.suppressions.find(email.to)
        if email.state in ACCEPTED_STATES:
            found["reports"] = tuple(self._runtime.feedback_reports.of_email(email.id))
        if is_thorough:
            found["available_actions"] = self._eligibility.available_actions(email)
        window = timedelta(seconds=self._runtime.settings.mailctl_idempotency_seconds)
        if is_thorough and now - email.created_at < window:
            found["idempotency_keys"] = self._idempotency_keys.find_by_email(email.id, now=now)
        return Case(email=email, events=events, evidence=Evidence(**found), now=now)

    def collect_unknown(self, task_id: str, *, look_around: bool = False) -> UnknownId:
        """Return the evidence about an id that the delivery log does not have.

        Args:
            task_id: the id.
            look_around: whether to search the logs of nearby folders as well.
        """
        settings = self._runtime.settings
        tasks, why_no_results = self._unrecorded_tasks()
        result, search, broker_error = self._ask_celery(task_id, tasks=tasks)
        is_relative = settings.mailctl_database_url is None and not settings.mailctl_home.is_absolute()
        home = settings.mailctl_home if is_relative else None
        return UnknownId(
            task_id=task_id,
            log=self.log,
            is_log_empty=self._runtime.history.is_empty(),
            is_log_missing=self._runtime.is_log_missing,
            relative_home=home,
            other_homes=find_homes_with_email(task_id, around=Path.cwd(), home=home)
            if home and look_around
            else (),
            result=result,
            search=search,
            broker_error=broker_error,
            is_in_memory=self.is_broker_private,
            unrecorded_tasks=tasks,
            missing_results=why_no_results,
        )

    def email_id_of_key(self, key: str) -> str | None:
        """Return the id of the email that was recorded with an idempotency key; None if there is none."""
        found = self._idempotency_keys.find(key, now=self._runtime.clock())
        return found.email_id if found else None

    def _unrecorded_tasks(self) -> tuple[frozenset[str], str]:
        """Return the own tasks whose emails nothing records, and why they leave no results."""
        if not self._runtime.settings.mailctl_app:
            return frozenset(), ""
        from mailctl.celery_app import email_tasks_of_service, has_recorder, missing_results_reason

        app = self._runtime.app
        if has_recorder(app):
            return frozenset(), ""
        with suppress(ConfigurationError):  # check-config says what is wrong with MAILCTL_TASKS
            return email_tasks_of_service(app, self._runtime.settings), missing_results_reason(app)
        return frozenset(), ""

    def _ask_celery(
        self, task_id: str, *, tasks: Collection[str]
    ) -> tuple[CeleryResult | None, MessageSearchResult | None, str]:
        if self.is_broker_private:
            return None, None, ""
        result, search = None, None
        try:
            result = self.broker.task_result(task_id)
            for queue in self._queues_of(tasks):
                search = self.broker.find_message(task_id, queue=queue)
                if search.position is not None:
                    break
        except BrokerUnavailable as error:
            return result, search, error.message
        return result, search, ""

    def _queues_of(self, tasks: Collection[str]) -> list[str]:
        """Return the queues to which emails of these tasks, and of mailctl, go by default."""
        default = self._runtime.settings.celery_queue_default
        if not tasks:
            return [default]
        from mailctl.celery_app import queue_for_task

        return sorted({default, *(queue_for_task(self._runtime.app, task) for task in tasks)})

    def _collect_unfinished(self, email: Email, *, now: datetime, is_thorough: bool) -> dict[str, Any]:
        workers = tuple(self._runtime.workers.list_alive())
        found: dict[str, Any] = {
            "workers": workers,
            "circuit": self._circuit(email, workers),
            "learned_limits": self._learned_limits(email, now=now),
            "pauses": tuple(pause for pause in self._runtime.pauses.read() if pause.covers(email)),
            "lease": timedelta(seconds=self._runtime.settings.mailctl_lease_seconds),
            "is_in_memory": self.is_broker_private,
            "is_usual_queue": email.queue in self._usual_queues(),
        }
        if email.attempts or email.reason_code is ReasonCode.SEND_RATE:
            found["learned_rate"] = self._learned_rate(email, now=now)
        if email.state in _WAITING_STATES:
            found |= self._ask_broker(email, workers, is_thorough=is_thorough)
            found |= self._measure_queue(email, found.get("search"))
        if email.state is State.SENDING:
            found["replaced_processes"] = _count_replaced_processes(email, workers)
            found["reply_limit"] = self._reply_limit(email)
        is_old = now - email.created_at > timedelta(seconds=STALL_SECONDS)
        if not workers or is_old or email.state is State.SENDING:
            found |= self._find_idle_workers(email, workers, now=now)
        if workers and (is_thorough or email.reason_code is ReasonCode.UNREADABLE_CONTENT):
            found["disagreements"] = tuple(find_disagreements(workers, self._runtime.identity))
        return found

    def _find_idle_workers(
        self, email: Email, workers: tuple[Worker, ...], *, now: datetime
    ) -> dict[str, Any]:
        """Look for workers that do nothing, for an email that should have been sent by now, or has none."""
        stalled = find_stalled_workers(self._runtime.engine, workers, now=now)
        idle = [*filter(is_suspended, workers), *self._runtime.workers.list_silent()]
        return {
            "silent": tuple(SilentWorker(worker=each, is_suspended=is_suspended(each)) for each in idle),
            "stalled": tuple(each for each in stalled if each.queue == email.message_queue)
            if email.state is State.QUEUED
            else (),
        }

    def _ask_broker(self, email: Email, workers: tuple[Worker, ...], *, is_thorough: bool) -> dict[str, Any]:
        if self.is_broker_private:
            return {}
        is_consumed = any(email.message_queue in worker.queues for worker in workers)
        refusal = ""
        try:
            refusal = self._publishing_refusal(email)
            search = self.broker.find_message(email.id, queue=email.message_queue)
            # Asking all workers takes a second, so ask only if no heartbeat covers the queue, or a worker
            # that shares it may have discarded the message.
            is_asked = not is_consumed or (is_thorough and search.position is None)
            nodes = self.broker.queues_by_worker() if is_asked else {}
            has_no_known_consumer = not is_consumed and not any(
                email.message_queue in found for found in nodes.values()
            )
            return {
                "has_unresponsive_worker": has_no_known_consumer
                and self.broker.has_silent_worker(nodes, queues=[email.message_queue]),
                "publish_error": refusal,
                "search": search,
                "result": self._result_of_other_log(email, is_consumed=is_consumed),
                "consumers": None if is_consumed else nodes,
                "discarding": self._discarding(email, nodes, workers),
                "is_in_memory": self.broker.is_in_memory,
            }
        except BrokerUnavailable as error:
            # A broker that takes no messages passes no questions to workers either.
            return {"publish_error": refusal} if refusal else {"broker_error": error.message}

    def _result_of_other_log(self, email: Email, *, is_consumed: bool) -> CeleryResult | None:
        """Return the Celery result of an email that a worker with another log may have taken."""
        if is_consumed or email.state is not State.QUEUED:
            return None
        return self.broker.task_result(email.id)

    def _publishing_refusal(self, email: Email) -> str:
        """Return why the broker refuses messages, for an email that waits to be published; "" otherwise."""
        if email.state is not State.PENDING:
            return ""
        try:
            self.broker.probe()
        except BrokerRefused as error:
            return error.message
        return ""

    def _discarding(
        self, email: Email, nodes: Mapping[str, tuple[str, ...]], workers: tuple[Worker, ...]
    ) -> tuple[str, ...]:
        """Return the workers that consume a queue of an email, or that of its group, without its task."""
        kind, known = self._runtime.catalog.find(email.kind), {worker.name for worker in workers}
        others = {node: queues for node, queues in nodes.items() if node not in known}
        consumed = {queue for queues in others.values() for queue in queues}
        if kind is None or consumed.isdisjoint([email.queue, email.message_queue]):
            return ()
        from mailctl.broker.messages import BATCH_TASK
        from mailctl.broker.shared_queues import find_discarding_workers

        tasks = {email.queue: [kind.full_task]}
        if email.is_grouped:
            tasks[email.message_queue] = [BATCH_TASK]
        return tuple(find_discarding_workers(self.broker, tasks, others))

    def _measure_queue(self, email: Email, search: MessageSearchResult | None) -> dict[str, Any]:
        place = search.position if search else None
        # The messages before that of a group are groups.
        ahead = place.ahead if place and not email.is_grouped else self._stats.count_ahead_of(email)
        rate = self._stats.rates().get(email.queue, QueueRate()) if ahead else QueueRate()
        idle = timedelta(seconds=rate.idle_seconds) if rate.has_stalled else None
        return {"emails_ahead": ahead, "attempts_per_minute": rate.outgoing, "stalled_for": idle}

    def _usual_queues(self) -> set[str]:
        return {*default_queues(self._runtime), BULK_QUEUE}

    def _learned_rate(self, email: Email, *, now: datetime) -> float | None:
        """Return the emails a second that the mail server of the email, or its domain, has taught."""
        server, domain = email.server or DEFAULT_SERVER, domain_of(email.to)
        return read_learned_rate(self._runtime.engine, server=server, domain=domain, now=now)

    def _learned_limits(self, email: Email, *, now: datetime) -> tuple[str, ...]:
        """Return what the mail servers that may send the email have taught, also about its domain."""
        order = self._runtime.mail_servers.routing.order_for(email.routed)
        scopes = {*map(server_scope, order), domain_scope(domain_of(email.to))}
        limits = read_learned_limits(self._runtime.engine, now=now)
        return tuple(str(limit) for limit in limits if limit.scope in scopes)

    def _reply_limit(self, email: Email) -> timedelta:
        """Return how long a worker waits for the reply to the message: by the servers that may take it."""
        servers = self._runtime.mail_servers
        order = servers.routing.order_for(email.routed)
        return timedelta(seconds=max(servers.by_name[name].data_timeout_seconds for name in order))

    def _circuit(self, email: Email, workers: tuple[Worker, ...]) -> Circuit | None:
        """Return the circuit to a mail server that fails: an open one first, then that to our own.

        With several mail servers, it is one of those that may send the email, and none of them works.
        """
        servers = self._runtime.mail_servers
        own = server_address(self._runtime.settings.email_host, self._runtime.settings.email_port)
        # A worker that is stopped by a signal keeps its mail server.
        users = workers or tuple(self._runtime.workers.list_silent())
        circuits = read_circuits_in_use(self._runtime.engine, users)
        if len(servers.by_name) > 1:
            labels = [servers.by_name[name].label for name in servers.routing.order_for(email.routed)]
            circuits = [each for each in circuits if each.server in labels]
            if sum(each.is_open for each in circuits) < len(labels):
                return None
        return min(circuits, key=lambda each: (not each.is_open, each.server != own), default=None)


def _count_replaced_processes(email: Email, workers: Iterable[Worker]) -> int:
    """Return how many pool processes of the worker that claimed the email have died since."""
    mine = (worker for worker in workers if worker.name == email.worker)
    return sum(count_replaced_processes(worker, since=email.updated_at) for worker in mine)
