"""Checks of an app that defines email tasks itself: what mailctl can know of the emails that they send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.celery_app import (
    email_tasks_of_service,
    has_memory_broker,
    has_recorder,
    overridden_tasks,
    unreadable_results_reason,
)
from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.domain.own_tasks import load_translator, outcome_of_value
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.task_mapping import mapped_tasks
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="app")
_RECORDING = CheckGroup(name="workers")
_MAPPING_SETTING = "MAILCTL_TASKS"
_TRANSLATOR_SETTING = "MAILCTL_RESULT_OUTCOME"
_RECORD = "Call mailctl.record_tasks(app) where the service creates its app"
#: Values with which the translator is tried: what tasks return that tell little.
_SAMPLE_VALUES = (True, False, None)


def check_own_tasks(settings: Settings, app: Celery) -> Iterator[Finding]:
    """Check what mailctl can know of emails that the service's own tasks send; no finding if it has none."""
    yield from _eager(app)
    yield from _translator(settings)
    yield from _mapping(settings, app)
    for name in sorted(overridden_tasks(app)):
        yield _GROUP.ok(name, f"the service's own task {name} replaces mailctl's")


def check_recording(settings: Settings, app: Celery, workers: DiscoveredWorkers) -> Iterator[Finding]:
    """Check whether the emails of the service's own tasks are recorded; no finding if it has no such tasks.

    Args:
        settings: they may map tasks of other names.
        app: the app of the service.
        workers: the live workers; those that share the delivery log record what they run.
    """
    if not overridden_tasks(app) and not _mapped(settings, app):
        return
    if has_recorder(app):
        yield _RECORDING.ok("recorder", "emails of the service's own tasks are recorded")
    elif workers.heartbeats:
        yield _recorded_by(workers)
    else:
        yield _not_recorded()
    is_recorded = bool(has_recorder(app) or (workers.heartbeats and not workers.unlogged_workers))
    yield _own_results(app, is_recorded=is_recorded)


def _eager(app: Celery) -> Iterator[Finding]:
    if app.conf.task_always_eager:
        yield _GROUP.warn(
            "task_always_eager",
            "The app runs tasks in the process that calls them, but mailctl publishes to the broker anyway.",
            fix="Set task_always_eager in tests only.",
        )


def _translator(settings: Settings) -> Iterator[Finding]:
    spec = settings.mailctl_result_outcome
    if not spec:
        return
    try:
        translate = load_translator(spec)
    except ConfigurationError as error:
        yield _GROUP.error(_TRANSLATOR_SETTING, error)
        return
    outcomes = (
        outcome_of_value(value, task="send_email_task", translate=translate) for value in _SAMPLE_VALUES
    )
    problem = next((each.translator_problem for each in outcomes if each.translator_problem), "")
    if problem:
        fix = (
            f"Correct {spec}: its arguments are a task name and a return value, such as True, False or None."
        )
        yield _GROUP.warn(_TRANSLATOR_SETTING, as_sentence(problem), fix=fix)
    else:
        yield _GROUP.ok(_TRANSLATOR_SETTING, f"{spec} says what the service's own tasks return")


def _mapping(settings: Settings, app: Celery) -> Iterator[Finding]:
    if not settings.mailctl_tasks:
        return
    try:
        mapped = mapped_tasks(settings)
    except ConfigurationError as error:
        yield _GROUP.error(_MAPPING_SETTING, error)
        return
    missing = sorted(name for name in mapped if name not in app.tasks)
    if missing:
        fix = f"Correct the names in {settings.mailctl_tasks}, or define the tasks in the app."
        yield _GROUP.warn(_MAPPING_SETTING, f"The app has no task {', '.join(missing)}.", fix=fix)
    else:
        yield _GROUP.ok(_MAPPING_SETTING, f"{settings.mailctl_tasks} maps {len(mapped)} tasks of the app")


def _mapped(settings: Settings, app: Celery) -> frozenset[str]:
    try:
        return email_tasks_of_service(app, settings)
    except ConfigurationError:
        return frozenset()  # the check of MAILCTL_TASKS reports it


def _recorded_by(workers: DiscoveredWorkers) -> Finding:
    names = ", ".join(worker.name for worker in workers.heartbeats)
    others = ", ".join(workers.unlogged_workers)
    if others:
        return _RECORDING.warn(
            "recorder",
            f"Emails of the service's own tasks are recorded by {names}, but not by {others}.",
            fix=f"{_RECORD}, or stop the others.",
        )
    return _RECORDING.ok(
        "recorder",
        f"the service's own tasks are recorded by {names}; a plain Celery worker would not record them",
    )


def _not_recorded() -> Finding:
    worker = mailctl_command("worker")
    return _RECORDING.warn(
        "recorder",
        "The service's worker does not record emails: those that the service publishes are missing from the"
        " delivery log, and the outcome of the others is known from task results alone.",
        fix=f"{_RECORD}, or run its tasks with: {worker}",
    )


def _own_results(app: Celery, *, is_recorded: bool) -> Finding:
    reason = unreadable_results_reason(app)
    if is_recorded:
        return _RECORDING.ok("own results", "they are not needed: the outcomes are recorded")
    if not reason or has_memory_broker(app):
        asked = ": mailctl requests them, although task_ignore_result is set"
        ignored = asked if app.conf.task_ignore_result else ""
        where = "the service's own tasks keep their results where mailctl can read them"
        return _RECORDING.ok("own results", f"{where}{ignored}")
    return _RECORDING.warn(
        "own results",
        f"The results of the service's own tasks cannot be read, because {reason}: their emails are held.",
        fix=f"{_RECORD}, or configure it to keep results in Redis or a database.",
    )
