"""Detectors that ask the services: the delivery log, the broker, the result backend, users, templates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.checks.finding import FindingStatus, as_sentence
from mailctl.checks.templates import check_templates
from mailctl.checks.users import check_users
from mailctl.delivery_log.storage.urls import delivery_log_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.errors import BrokerRefused, BrokerUnavailable, MailctlError
from mailctl.monitoring.incident.models import IncidentProblem, ProblemSubject
from mailctl.process.deadlines import call_with_deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.checks.finding import Finding
    from mailctl.monitoring.incident.evidence import LogFacts
    from mailctl.runtime import Runtime


def problem_of_error(
    subject: ProblemSubject, name: str, error: MailctlError, *, held_up: int | None
) -> IncidentProblem:
    """Return the problem that an error stands for."""
    sentence = as_sentence(error.message.rstrip(".")).rstrip(".")
    return IncidentProblem(subject=subject, name=name, sentence=sentence, fix=error.fix, held_up=held_up)


def find_settings_problem(runtime: Runtime) -> Iterator[IncidentProblem]:
    """Yield a problem if a setting is invalid without which no email can be composed.

    Every `send` is refused then, and no worker starts.
    """
    try:
        runtime.check_message_settings()
    except MailctlError as error:
        problem = problem_of_error(ProblemSubject.SETTINGS, "invalid_setting", error, held_up=0)
        every = mailctl_command("check-config", offline=True)
        yield replace(
            problem,
            sentence=f"No email can be sent from here: {problem.sentence}",
            fix=f"{problem.fix} Check all settings: {every}",
        )


def find_recording_problem(runtime: Runtime) -> Iterator[IncidentProblem]:
    """Yield a problem if the delivery log accepts no email."""
    url = delivery_log_url(runtime.settings)
    try:
        call_with_deadline(lambda: check_writable(url), service="The delivery log")
    except MailctlError as error:
        yield problem_of_error(ProblemSubject.LOG, "recording", error, held_up=None)


def find_broker_problems(broker: BrokerInspector, *, waiting: Callable[[], int]) -> Iterator[IncidentProblem]:
    """Yield a problem if the broker or the result backend does not work.

    Args:
        broker: the inspector of the app's broker.
        waiting: returns how many emails wait to be published or taken.
    """
    try:
        broker.probe()
    except BrokerRefused as error:
        yield problem_of_error(ProblemSubject.BROKER, "broker_refuses", error, held_up=waiting())
    except MailctlError as error:
        yield problem_of_error(ProblemSubject.BROKER, "broker_down", error, held_up=waiting())
        return  # the result backend is mostly the same server
    try:
        broker.probe_backend()
    except BrokerUnavailable as error:
        yield problem_of_error(ProblemSubject.RESULTS, "results_down", error, held_up=0)
    except MailctlError as error:
        yield problem_of_error(ProblemSubject.RESULTS, "results_refused", error, held_up=0)


def count_waiting(facts: LogFacts) -> int:
    """Return how many emails wait to be published or taken by a worker."""
    states = (State.PENDING, State.QUEUED)
    return facts.count(lambda group: group.state in states and not group.is_scheduled)


def find_template_problems(runtime: Runtime) -> Iterator[IncidentProblem]:
    """Yield a problem for each template with which emails cannot be composed, or that is not used."""
    found = _findings(lambda: list(check_templates(runtime.settings, runtime.catalog)))
    for finding in found:
        if finding.status in (FindingStatus.FAIL, FindingStatus.WARN):
            yield _problem_of(finding, ProblemSubject.TEMPLATES, "template", place=f"{finding.name}: ")


def find_user_problems(runtime: Runtime) -> Iterator[IncidentProblem]:
    """Yield a problem if users cannot be looked up."""
    found = _findings(lambda: list(check_users(runtime.settings, runtime.engine, offline=False)))
    for finding in found:
        if finding.status is FindingStatus.FAIL:
            yield _problem_of(finding, ProblemSubject.USERS, "users_unavailable")


def _findings(check: Callable[[], list[Finding]]) -> Iterable[Finding]:
    """Return what a check finds; nothing if settings that have problems of their own keep it from running."""
    try:
        return check()
    except MailctlError:
        return ()


def _problem_of(finding: Finding, subject: ProblemSubject, name: str, *, place: str = "") -> IncidentProblem:
    sentence = f"{place}{finding.detail[:1].upper()}{finding.detail[1:].rstrip('.')}"
    return IncidentProblem(subject=subject, name=name, sentence=sentence, fix=finding.fix)
