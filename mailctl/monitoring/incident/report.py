"""Finds what is wrong now: the one door of this package."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mailctl.checks.other_delivery_logs import find_other_workers
from mailctl.checks.workers import needed_queues
from mailctl.errors import LogMissing, LogUnavailable, MailctlError
from mailctl.monitoring.health import creation_obstacle
from mailctl.monitoring.incident.evidence import LogFacts
from mailctl.monitoring.incident.models import Incident, IncidentProblem, ProblemSubject, in_order
from mailctl.monitoring.incident.processes import find_undecryptable, find_worker_problems
from mailctl.monitoring.incident.sending import find_backlog, find_sending_problems
from mailctl.monitoring.incident.services import (
    count_waiting,
    find_broker_problems,
    find_recording_problem,
    find_settings_problem,
    find_template_problems,
    find_user_problems,
    problem_of_error,
)
from mailctl.process.deadlines import call_with_deadline
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.broker.shared_queues import MailctlWorker
    from mailctl.monitoring.incident.evidence import RecentFacts
    from mailctl.runtime import Runtime

_LOG = "The delivery log"


def find_incident(
    open_runtime: Callable[[], Runtime], *, open_without_log: Callable[[], Runtime]
) -> Incident:
    """Return what is wrong now, and ask every service about it.

    Args:
        open_runtime: returns the components of this process; called once.
        open_without_log: returns those of a process without a delivery log; called once if the log cannot be
            used, to check the rest.

    Raises:
        ConfigurationError: a setting is invalid without which nothing can be checked.
    """
    try:
        runtime = open_runtime()
        facts = LogFacts(runtime)
        call_with_deadline(lambda: facts.workers, service=_LOG)
    except MailctlError as error:
        return _incident_without_log(error, open_without_log)
    problems = [*find_settings_problem(runtime), *find_recording_problem(runtime)]
    broker, in_the_way = _ask_broker(facts)
    if broker is not None and not in_the_way:
        facts.ask_workers = broker.queues_by_worker
        facts.find_other_workers = partial(_find_other_workers, broker, facts)
    problems += in_the_way
    try:
        problems += find_problems_in_log(facts)
        if not any(problem.subject is ProblemSubject.KEYS for problem in problems):
            problems += find_undecryptable(facts)
    except LogUnavailable as error:
        # The workers of a damaged file may be readable, and other tables not.
        if not any(problem.subject is ProblemSubject.LOG for problem in problems):
            problems.append(problem_of_error(ProblemSubject.LOG, "log", error, held_up=None))
        return Incident(at=facts.now, problems=in_order(problems))
    problems += [*find_user_problems(runtime), *find_template_problems(runtime)]
    return Incident(at=facts.now, problems=in_order(problems), summary=_summary(facts))


def find_logged_incident(runtime: Runtime, *, recent: RecentFacts | None = None) -> Incident:
    """Return what is wrong now by the delivery log alone, which takes milliseconds.

    A broker that does not work shows in it once emails have waited for a while to be published.

    Args:
        runtime: the components of this process.
        recent: the errors and campaigns that were read a moment ago; None reads them.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    facts = LogFacts(runtime, recent=recent)
    return Incident(at=facts.now, problems=in_order(find_problems_in_log(facts)), summary=_summary(facts))


def find_problems_in_log(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield every problem that shows in the delivery log."""
    found = [*find_worker_problems(facts), *find_sending_problems(facts)]
    yield from found
    if not any(problem.is_failure for problem in found):
        yield from find_backlog(facts)


def _ask_broker(facts: LogFacts) -> tuple[BrokerInspector | None, tuple[IncidentProblem, ...]]:
    """Return the inspector of a broker that processes share, and what is wrong with it.

    There is none if the broker is private to each process, or if the app cannot be loaded.
    """
    runtime = facts.runtime
    if runtime.settings.is_broker_private:
        return None, ()
    from mailctl.broker.inspector import BrokerInspector

    try:
        broker = BrokerInspector(runtime.app)
        is_private = broker.is_in_memory
    except MailctlError as error:
        return None, (problem_of_error(ProblemSubject.BROKER, "app", error, held_up=0),)
    if is_private:
        return None, ()
    return broker, tuple(find_broker_problems(broker, waiting=lambda: count_waiting(facts)))


def _find_other_workers(
    broker: BrokerInspector, facts: LogFacts, nodes: Mapping[str, tuple[str, ...]]
) -> list[MailctlWorker]:
    """Return the workers of mailctl among these that consume the queues of this log's emails.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    runtime = facts.runtime
    queues = {*facts.own_queues, *needed_queues(runtime.app, runtime.catalog), *facts.ready_by_queue}
    return find_other_workers(runtime.app, broker, queues, nodes)


def _incident_without_log(error: MailctlError, open_without_log: Callable[[], Runtime]) -> Incident:
    """Return an incident whose first problem is that the delivery log cannot be used.

    Raises:
        ConfigurationError: other settings are not usable either.
    """
    runtime = open_without_log()
    try:
        is_missing = isinstance(error, LogMissing)
        obstacle = creation_obstacle(runtime) if is_missing else None
        name = "log_missing" if is_missing and obstacle is None else "log"
        first = problem_of_error(ProblemSubject.LOG, name, obstacle or error, held_up=None)
        others = [*find_settings_problem(runtime), *_ask_broker(LogFacts(runtime))[1]]
    finally:
        runtime.close()
    return Incident(at=datetime.now(UTC), problems=in_order([first, *others]))


def _summary(facts: LogFacts) -> str:
    alive = pluralize(len(facts.workers), "worker")
    waiting = sum(facts.ready_by_queue.values())
    return f"{alive} alive, {pluralize(waiting, 'email')} waiting for a worker"
