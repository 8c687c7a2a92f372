"""The frozen values of a diagnosis: evidence, case, causes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.diagnosis.exit_codes import exit_code_of, has_ended_unsent
from mailctl.domain.eligibility import RESEND, RETRY, SEND_ANOTHER
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

    from mailctl.broker.messages import MessageSearchResult
    from mailctl.checks.agreement import Disagreement
    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.idempotency import IdempotencyKey
    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.queries.stalls import StalledWorker
    from mailctl.delivery_log.reports import LoggedReport
    from mailctl.delivery_log.suppressions import Suppression
    from mailctl.domain.eligibility import Action, AvailableAction
    from mailctl.domain.models import CeleryResult, Email, Event
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.domain.states import State


class Certainty(StrEnum):
    """How certain a cause is."""

    CERTAIN = "certain"  #: the evidence allows no other explanation
    LIKELY = "likely"  #: it fits the evidence, and nothing contradicts it
    POSSIBLE = "possible"  #: it may contribute


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason why an email is in its state."""

    #: A stable name for programs; the documentation lists them.
    name: str
    #: A sentence for operators, in lower case and without a full stop.
    sentence: str
    #: A command to copy; None if there is nothing to do.
    next_step: ShellCommand | None = None
    certainty: Certainty = Certainty.CERTAIN

    def with_certainty_at_most(self, certainty: Certainty) -> Cause:
        """Return the same cause, no more certain than `certainty`."""
        order = list(Certainty)
        return replace(self, certainty=max(self.certainty, certainty, key=order.index))


@dataclass(frozen=True, kw_only=True)
class SilentWorker:
    """A worker that is stopped by a signal, or has neither signed off nor given a sign of life recently."""

    worker: Worker
    #: Whether its process is stopped by a signal.
    is_suspended: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The evidence about one email."""

    #: Live workers that share the delivery log.
    workers: tuple[Worker, ...] = ()
    #: The queues of all Celery workers that answer, by node name; None if they were not queried.
    consumers: Mapping[str, tuple[str, ...]] | None = None
    #: Whether a Celery worker that may consume its queue does not answer: it may be busy with a task.
    has_unresponsive_worker: bool = False
    #: The workers that consume its queue and do not have its task: they discard its message.
    discarding: tuple[str, ...] = ()
    #: The result of looking for its message on the broker; None if that was not done.
    search: MessageSearchResult | None = None
    #: Its Celery result, if no worker that shares the log consumes its queue; None if there is none.
    result: CeleryResult | None = None
    #: Why the broker could not be queried; "" if it answered or was not queried.
    broker_error: str = ""
    #: Why the broker accepts no message; "" if it does, or was not asked.
    publish_error: str = ""
    #: Workers that have neither signed off nor given a sign of life recently.
    silent: tuple[SilentWorker, ...] = ()
    #: Live workers that take nothing from its queue although emails wait there.
    stalled: tuple[StalledWorker, ...] = ()
    #: What the live workers and this process do not agree on; empty if they were not compared.
    disagreements: tuple[Disagreement, ...] = ()
    #: Whether the broker is private to each process, so that its messages cannot be read.
    is_in_memory: bool = False
    #: The circuit to the mail server, if attempts have failed.
    circuit: Circuit | None = None
    #: Messages a second that all workers send to its mail server and domain, because that server has refused
    #: faster ones; None if it has not.
    learned_rate: float | None = None
    #: What its mail servers allow all workers together, as sentences; empty if they have refused nothing.
    learned_limits: tuple[str, ...] = ()
    #: The pauses that apply to the email.
    pauses: tuple[Pause, ...] = ()
    suppression: Suppression | None = None
    #: What was reported about it after a mail server had accepted it, in the order in which it came.
    reports: tuple[LoggedReport, ...] = ()
    #: The idempotency keys that return this email.
    idempotency_keys: tuple[IdempotencyKey, ...] = ()
    #: Whether workers consume its queue by default.
    is_usual_queue: bool = True
    #: The number of emails or messages ahead of it in its queue.
    emails_ahead: int | None = None
    #: The recent number of emails a minute that left its queue.
    attempts_per_minute: float = 0.0
    #: For how long none has left it, if at that rate several would have; None if some have.
    stalled_for: timedelta | None = None
    #: How many pool processes of the worker that is sending it were started after it had claimed the email,
    #: because others died.
    replaced_processes: int = 0
    #: How long a worker waits for the reply to a message; None if the email is not being sent.
    reply_limit: timedelta | None = None
    #: How long the claim of a worker lasts.
    lease: timedelta | None = None
    #: The actions that an operator may take; empty if they were not looked up.
    available_actions: tuple[AvailableAction, ...] = ()

    @property
    def has_living_worker(self) -> bool:
        """Whether any worker is known to be alive."""
        return bool(self.workers or self.consumers)

    @property
    def queues_by_worker(self) -> dict[str, tuple[str, ...]]:
        """The queues of each worker, by node name, from the log and from the broker."""
        return dict(self.consumers or {}) | {worker.name: worker.queues for worker in self.workers}

    @property
    def is_queue_stalled(self) -> bool:
        """Whether every live worker of its queue takes nothing."""
        names = {each.worker for each in self.stalled}
        queues = {each.queue for each in self.stalled}
        return bool(names) and all(
            name in names for name, consumed in self.queues_by_worker.items() if queues & set(consumed)
        )

    def consumes(self, queue: str) -> bool:
        """Whether a live worker consumes a queue."""
        return any(queue in queues for queues in self.queues_by_worker.values())


@dataclass(frozen=True, kw_only=True)
class Case:
    """An email of the delivery log, its events and the evidence."""

    email: Email
    events: tuple[Event, ...]
    evidence: Evidence
    now: datetime

    @property
    def is_waiting_for_time(self) -> bool:
        """Whether it must not be sent before a time in the future."""
        not_before = self.email.not_before
        return not_before is not None and not_before > self.now

    def command_for(self, action: Action) -> ShellCommand | None:
        """Return the command for an action; None if the action is not available."""
        found = (each.command for each in self.evidence.available_actions if each.action == action.name)
        return next(found, None)

    def command_to_send_again(self) -> ShellCommand | None:
        """Return the command that sends it again with the fewest hazards; None if there is none."""
        ways = (RETRY.name, RESEND.name, SEND_ANOTHER)
        found = [each for each in self.evidence.available_actions if each.action in ways]
        return min(found, key=lambda each: len(each.hazards)).command if found else None

    def last_report(self, *kinds: str) -> LoggedReport | None:
        """Return the latest proven report of these kinds, by when it happened; None if there is none."""
        found = [each for each in self.evidence.reports if each.is_proven and each.kind in kinds]
        return max(found, key=lambda each: each.at or each.received_at, default=None)

    def last_event(self, state: State) -> Event | None:
        """Return the latest event in a state; None if there is none."""
        return next((event for event in reversed(self.events) if event.state is state), None)


@dataclass(frozen=True, kw_only=True)
class UnknownId:
    """The evidence about an id that the delivery log does not have."""

    task_id: str
    #: The URL of the log that was read, without its password.
    log: str
    #: Whether no email was ever recorded in that log.
    is_log_empty: bool
    is_log_missing: bool = False
    #: MAILCTL_HOME, if it is relative to the working directory and determines the log; else None.
    relative_home: Path | None
    #: Other values of MAILCTL_HOME nearby whose log has the email.
    other_homes: tuple[Path, ...] = ()
    result: CeleryResult | None = None
    search: MessageSearchResult | None = None
    broker_error: str = ""
    is_in_memory: bool = False
    #: The email tasks of the service's own code whose emails nothing records; none if it records them.
    unrecorded_tasks: frozenset[str] = frozenset()
    #: Why they leave no results, as a clause; "" if they do.
    missing_results: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The diagnosis of one email or unknown id."""

    task_id: str
    state: State | None
    #: At least one cause, the most likely first.
    causes: tuple[Cause, ...]
    #: The address of the log that was read, without its password.
    log: str
    #: None for an id that the log does not have.
    case: Case | None = None
    unknown: UnknownId | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the email is known to be finished without having been sent."""
        email = self.case.email if self.case else None
        return has_ended_unsent(email, self.unknown.result if self.unknown else None)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that reports this."""
        return exit_code_of(self.state, has_failed=self.has_failed) if self.is_known else ExitCode.NOT_FOUND

    @property
    def is_known(self) -> bool:
        """Whether the delivery log, another log nearby or Celery knows the id."""
        if self.case is not None or self.unknown is None:
            return True
        unknown = self.unknown
        is_on_broker = unknown.search is not None and unknown.search.position is not None
        return bool(unknown.result or is_on_broker or unknown.other_homes)
