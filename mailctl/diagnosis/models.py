"""What a diagnosis is made from, and what it consists of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.eligibility import RESEND, RETRY, SEND_ANOTHER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

    from mailctl.broker.messages import MessageSearchResult
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.idempotency import IdempotencyKey
    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.suppressions import Suppression
    from mailctl.domain.eligibility import Action, AvailableAction
    from mailctl.domain.models import CeleryResult, Email, Event, State
    from mailctl.shell_command import ShellCommand


class Certainty(StrEnum):
    """How sure a cause is."""

    CERTAIN = "certain"  #: the evidence leaves no other reading
    LIKELY = "likely"  #: it fits, and nothing speaks against it
    POSSIBLE = "possible"  #: it may play a part


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason why an email is where it is."""

    #: For programs; the README lists them.
    name: str
    #: For people, without a full stop.
    sentence: str
    #: A command to copy; None where there is nothing to do.
    next_step: ShellCommand | None = None
    certainty: Certainty = Certainty.CERTAIN

    def with_certainty_at_most(self, certainty: Certainty) -> Cause:
        """Return the same cause, no surer than that."""
        order = list(Certainty)
        surest = max(order.index(self.certainty), order.index(certainty))
        return replace(self, certainty=order[surest])


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What could be found out about an email."""

    #: Living workers that share the delivery log.
    workers: tuple[Worker, ...] = ()
    #: Queues that Celery workers of any kind consume, by node; None if they were not asked.
    consumers: Mapping[str, tuple[str, ...]] | None = None
    #: Where its message is on the broker; None if nobody looked.
    search: MessageSearchResult | None = None
    #: Why the broker could not be asked; "" if it answered or was not asked.
    broker_error: str = ""
    #: The broker is private to each process: what is on it cannot be seen from here.
    is_in_memory: bool = False
    #: What is known of a mail server that does not work.
    circuit: Circuit | None = None
    pauses: tuple[Pause, ...] = ()
    suppression: Suppression | None = None
    #: Idempotency keys that stand for this email.
    idempotency_keys: tuple[IdempotencyKey, ...] = ()
    #: Whether a worker takes its queue that was not told otherwise.
    is_usual_queue: bool = True
    #: Emails of its queue that go before it.
    emails_ahead: int | None = None
    #: Attempts a minute that its queue has seen lately.
    attempts_per_minute: float = 0.0
    #: How long a worker that is silent keeps an email.
    lease: timedelta | None = None
    #: What an operator may do about it; empty if nobody asked.
    available_actions: tuple[AvailableAction, ...] = ()

    @property
    def has_living_worker(self) -> bool:
        """Whether any worker is known to be alive."""
        return bool(self.workers or self.consumers)

    @property
    def queues_by_worker(self) -> dict[str, tuple[str, ...]]:
        """The queues of each worker, by node name, whoever told of it."""
        return dict(self.consumers or {}) | {worker.name: worker.queues for worker in self.workers}

    def consumes(self, queue: str) -> bool:
        """Whether somebody alive takes messages from a queue."""
        return any(queue in queues for queues in self.queues_by_worker.values())


@dataclass(frozen=True, kw_only=True)
class Case:
    """An email of the log, and the evidence."""

    email: Email
    events: tuple[Event, ...]
    evidence: Evidence
    now: datetime

    @property
    def is_waiting_for_time(self) -> bool:
        """Whether it is not to be sent before a time that has not come."""
        not_before = self.email.not_before
        return not_before is not None and not_before > self.now

    def command_for(self, action: Action) -> ShellCommand | None:
        """Return the command for an action; None if it cannot be done."""
        found = (offer.command for offer in self.evidence.available_actions if offer.action == action.name)
        return next(found, None)

    def command_to_send_again(self) -> ShellCommand | None:
        """Return the command by which it goes out after all: that against which the least speaks."""
        ways = (RETRY.name, RESEND.name, SEND_ANOTHER)
        found = [offer for offer in self.evidence.available_actions if offer.action in ways]
        return min(found, key=lambda offer: len(offer.hazards)).command if found else None

    def last_event(self, state: State) -> Event | None:
        """Return the latest event of a state; None if there is none."""
        return next((event for event in reversed(self.events) if event.state is state), None)


@dataclass(frozen=True, kw_only=True)
class UnknownId:
    """What could be found out about an id that the delivery log does not know."""

    task_id: str
    #: The address of the log that was read, without its password.
    log: str
    #: Whether no email was ever recorded there.
    is_log_empty: bool
    is_log_missing: bool = False
    #: The MAILCTL_HOME that depends on the working directory; None if the log's place does not.
    relative_home: Path | None
    #: Homes nearby whose log has the email.
    other_homes: tuple[Path, ...] = ()
    result: CeleryResult | None = None
    search: MessageSearchResult | None = None
    broker_error: str = ""
    is_in_memory: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why an email is where it is."""

    task_id: str
    state: State | None
    #: The most likely first; never empty.
    causes: tuple[Cause, ...]
    #: The log that was read, without its password.
    log: str
    #: None for an id that the log does not know.
    case: Case | None = None
    unknown: UnknownId | None = None

    @property
    def has_failed(self) -> bool:
        """Whether it is known that the email will not be delivered."""
        if self.case is not None:
            return self.case.email.is_final and not self.case.email.is_delivered
        result = self.unknown.result if self.unknown else None
        return result is not None and result.state == "FAILURE"

    @property
    def is_known(self) -> bool:
        """Whether the log or Celery knows the id."""
        if self.case is not None or self.unknown is None:
            return True
        unknown = self.unknown
        is_on_broker = unknown.search is not None and unknown.search.position is not None
        return bool(unknown.result or is_on_broker or unknown.other_homes)
