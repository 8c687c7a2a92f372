"""Gathers what a diagnosis needs: from the log, the broker and the workers, each question with a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.discovery import homes_with
from mailctl.delivery_log.idempotency import UsedKeys
from mailctl.delivery_log.queries.queue_stats import Flow, Rate
from mailctl.diagnosis import Case, Evidence, Unknown
from mailctl.diagnosis.email_facts import Eligibility
from mailctl.domain.models import State
from mailctl.errors import BrokerUnavailable
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from mailctl.broker.inspector import Broker
    from mailctl.broker.messages import Search
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.domain.models import CeleryResult, Email, Event
    from mailctl.runtime import Runtime

_ON_ITS_WAY = (State.PENDING, State.QUEUED)


class Witnesses:
    """Everybody who can say something about an email.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._used_keys = UsedKeys(runtime.engine)
        self._flow = Flow(runtime.engine)
        self._eligibility = Eligibility(runtime)

    @property
    def is_private(self) -> bool:
        """Whether broker and results are out of this process's sight; then Celery need not be imported."""
        return self._runtime.settings.is_broker_private

    @property
    def log(self) -> str:
        """The address of the log that is read, without its password."""
        return self._runtime.log

    @cached_property
    def broker(self) -> Broker:
        """The broker of the app."""
        from mailctl.broker.inspector import Broker

        return Broker(self._runtime.app)

    def case(self, email: Email, events: tuple[Event, ...], *, is_thorough: bool = False) -> Case:
        """Return an email with the evidence that its state calls for.

        Args:
            is_thorough: look for idempotency keys that stand for it and for what can be done about it, too.
        """
        now = datetime.now(UTC)
        found: dict[str, Any] = {} if email.is_final else self._of_unfinished(email)
        if email.state is State.SUPPRESSED:
            found["suppression"] = self._runtime.suppressions.find(email.to)
        if is_thorough:
            found["offers"] = self._eligibility.offers(email)
        window = timedelta(seconds=self._runtime.settings.mailctl_idempotency_seconds)
        if is_thorough and now - email.created_at < window:
            found["keys"] = self._used_keys.of(email.id, now=now)
        return Case(email=email, events=events, evidence=Evidence(**found), now=now)

    def unknown(self, task_id: str, *, look_around: bool = False) -> Unknown:
        """Return what is known of an id that the log does not have.

        Args:
            look_around: look into the logs of folders nearby, too.
        """
        settings = self._runtime.settings
        result, search, trouble = self._of_celery(task_id)
        is_relative = settings.mailctl_database_url is None and not settings.mailctl_home.is_absolute()
        home = settings.mailctl_home if is_relative else None
        return Unknown(
            task_id=task_id,
            log=self.log,
            is_log_empty=self._runtime.history.is_empty(),
            is_log_missing=self._runtime.is_log_missing,
            relative_home=home,
            other_homes=homes_with(task_id, around=Path.cwd(), home=home) if home and look_around else (),
            result=result,
            search=search,
            broker_trouble=trouble,
            is_in_memory=self.is_private,
        )

    def id_of_key(self, key: str) -> str | None:
        """Return the id of the email that an idempotency key stands for."""
        found = self._used_keys.find(key, now=datetime.now(UTC))
        return found.email_id if found else None

    def _of_celery(self, task_id: str) -> tuple[CeleryResult | None, Search | None, str]:
        if self.is_private:
            return None, None, ""
        result, search = None, None
        try:
            result = self.broker.result(task_id)
            search = self.broker.find(task_id, queue=self._runtime.settings.celery_queue_default)
        except BrokerUnavailable as error:
            return result, search, error.message
        return result, search, ""

    def _of_unfinished(self, email: Email) -> dict[str, Any]:
        workers = tuple(self._runtime.workers.alive())
        found: dict[str, Any] = {
            "workers": workers,
            "circuit": self._circuit(),
            "pauses": tuple(self._runtime.pauses.read()),
            "lease": timedelta(seconds=self._runtime.settings.mailctl_lease_seconds),
            "is_in_memory": self.is_private,
            "is_usual_queue": email.queue in self._usual_queues(),
        }
        if email.state in _ON_ITS_WAY:
            found |= self._of_broker(email, workers)
            found |= self._of_queue(email, found.get("search"))
        return found

    def _of_broker(self, email: Email, workers: tuple[Worker, ...]) -> dict[str, Any]:
        if self.is_private:
            return {}
        is_served = any(email.queue in worker.queues for worker in workers)
        try:
            return {
                "search": self.broker.find(email.id, queue=email.queue),
                # Asking all workers takes a second: only where ours are not the answer.
                "consumers": None if is_served else self.broker.consumers(),
                "is_in_memory": self.broker.is_in_memory,
            }
        except BrokerUnavailable as error:
            return {"broker_trouble": error.message}

    def _of_queue(self, email: Email, search: Search | None) -> dict[str, Any]:
        place = search.place if search else None
        ahead = place.ahead if place else self._flow.ahead_of(email)
        rate = self._flow.rates().get(email.queue, Rate()).outgoing if ahead else 0.0
        return {"ahead": ahead, "rate": rate}

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
