"""Gathers what a diagnosis needs: from the log, the broker and the workers, each question with a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.discovery import find_homes_with_email
from mailctl.delivery_log.idempotency import IdempotencyKeys
from mailctl.delivery_log.queries.queue_stats import QueueRate, QueueStats
from mailctl.diagnosis import Case, Evidence, UnknownId
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.models import State
from mailctl.errors import BrokerUnavailable
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from mailctl.broker.inspector import BrokerInspector
    from mailctl.broker.messages import MessageSearchResult
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.domain.models import CeleryResult, Email, Event
    from mailctl.runtime import Runtime

_WAITING_STATES = (State.PENDING, State.QUEUED)


class EvidenceCollector:
    """Everybody who can say something about an email.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._used_keys = IdempotencyKeys(runtime.engine)
        self._flow = QueueStats(runtime.engine)
        self._eligibility = EligibilityChecker(runtime)

    @property
    def is_broker_private(self) -> bool:
        """Whether broker and results are out of this process's sight; then Celery need not be imported."""
        return self._runtime.settings.is_broker_private

    @property
    def log(self) -> str:
        """The address of the log that is read, without its password."""
        return self._runtime.masked_log_url

    @cached_property
    def broker(self) -> BrokerInspector:
        """The broker of the app."""
        from mailctl.broker.inspector import BrokerInspector

        return BrokerInspector(self._runtime.app)

    def collect(self, email: Email, events: tuple[Event, ...], *, is_thorough: bool = False) -> Case:
        """Return an email with the evidence that its state calls for.

        Args:
            is_thorough: look for idempotency keys that stand for it and for what can be done about it, too.
        """
        now = datetime.now(UTC)
        found: dict[str, Any] = {} if email.is_final else self._collect_unfinished(email)
        if email.state is State.SUPPRESSED:
            found["suppression"] = self._runtime.suppressions.find(email.to)
        if is_thorough:
            found["available_actions"] = self._eligibility.available_actions(email)
        window = timedelta(seconds=self._runtime.settings.mailctl_idempotency_seconds)
        if is_thorough and now - email.created_at < window:
            found["idempotency_keys"] = self._used_keys.find_by_email(email.id, now=now)
        return Case(email=email, events=events, evidence=Evidence(**found), now=now)

    def collect_unknown(self, task_id: str, *, look_around: bool = False) -> UnknownId:
        """Return what is known of an id that the log does not have.

        Args:
            look_around: look into the logs of folders nearby, too.
        """
        settings = self._runtime.settings
        result, search, trouble = self._ask_celery(task_id)
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
            broker_error=trouble,
            is_in_memory=self.is_broker_private,
        )

    def email_id_of_key(self, key: str) -> str | None:
        """Return the id of the email that an idempotency key stands for."""
        found = self._used_keys.find(key, now=datetime.now(UTC))
        return found.email_id if found else None

    def _ask_celery(self, task_id: str) -> tuple[CeleryResult | None, MessageSearchResult | None, str]:
        if self.is_broker_private:
            return None, None, ""
        result, search = None, None
        try:
            result = self.broker.task_result(task_id)
            search = self.broker.find_message(task_id, queue=self._runtime.settings.celery_queue_default)
        except BrokerUnavailable as error:
            return result, search, error.message
        return result, search, ""

    def _collect_unfinished(self, email: Email) -> dict[str, Any]:
        workers = tuple(self._runtime.workers.list_alive())
        found: dict[str, Any] = {
            "workers": workers,
            "circuit": self._circuit(),
            "pauses": tuple(self._runtime.pauses.read()),
            "lease": timedelta(seconds=self._runtime.settings.mailctl_lease_seconds),
            "is_in_memory": self.is_broker_private,
            "is_usual_queue": email.queue in self._usual_queues(),
        }
        if email.state in _WAITING_STATES:
            found |= self._ask_broker(email, workers)
            found |= self._measure_queue(email, found.get("search"))
        return found

    def _ask_broker(self, email: Email, workers: tuple[Worker, ...]) -> dict[str, Any]:
        if self.is_broker_private:
            return {}
        is_served = any(email.queue in worker.queues for worker in workers)
        try:
            return {
                "search": self.broker.find_message(email.id, queue=email.queue),
                # Asking all workers takes a second: only where ours are not the answer.
                "consumers": None if is_served else self.broker.queues_by_worker(),
                "is_in_memory": self.broker.is_in_memory,
            }
        except BrokerUnavailable as error:
            return {"broker_error": error.message}

    def _measure_queue(self, email: Email, search: MessageSearchResult | None) -> dict[str, Any]:
        place = search.position if search else None
        ahead = place.ahead if place else self._flow.count_ahead_of(email)
        rate = self._flow.rates().get(email.queue, QueueRate()).outgoing if ahead else 0.0
        return {"emails_ahead": ahead, "attempts_per_minute": rate}

    def _usual_queues(self) -> set[str]:
        settings = self._runtime.settings
        if not settings.mailctl_app:
            return {settings.celery_queue_default, BULK_QUEUE}
        from mailctl.celery_app import consumed_queues

        return {*consumed_queues(self._runtime.app), BULK_QUEUE}

    def _circuit(self) -> Circuit | None:
        """Return the circuit to the mail server of the settings, else to any: workers may have others."""
        settings = self._runtime.settings
        server = f"{settings.email_host}:{settings.email_port}"
        known = {circuit.server: circuit for circuit in read_circuits(self._runtime.engine)}
        return known.get(server) or next(iter(known.values()), None)
