"""The Celery app: can it be had, and does it carry the emails?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.celery_app import app_from_settings, overridden_tasks
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import TASK_NAMES
from mailctl.redaction import mask_url

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

    from mailctl.settings import Settings

_GROUP = CheckGroup(name="app")
_JSON_CONTENT_TYPES = frozenset({"json", "application/json"})


def check_app(settings: Settings) -> Generator[Finding, None, Celery]:
    """Load the app with its tasks.

    Returns:
        The app.

    Raises:
        ConfigurationError: there is no such app, or importing it fails.
    """
    app = app_from_settings(settings)
    app.loader.import_default_modules()
    if settings.mailctl_app:
        yield _GROUP.ok("import", f"{mask_url(settings.mailctl_app)}, the service's own (MAILCTL_APP)")
    else:
        yield _GROUP.ok("import", "mailctl.celery_app:celery_app, made from the settings")
    yield _tasks(app)
    yield from _own_tasks(app)
    if settings.mailctl_app:
        yield _broker(app)
        yield _results(app)
        yield _serializer(app)
    return app


def has_results(app: Celery) -> bool:
    """Whether the app keeps the results of tasks."""
    return not str(app.conf.result_backend or "disabled").startswith("disabled")


def masked_broker_url(app: Celery) -> str:
    """Return the address of the broker as people may read it."""
    url = app.conf.broker_url
    return mask_url(";".join(url) if isinstance(url, list | tuple) else url or "amqp://")


def _tasks(app: Celery) -> Finding:
    missing = sorted(TASK_NAMES.difference(app.tasks))
    if missing:
        return _GROUP.fail(
            "tasks",
            f"not registered: {', '.join(missing)}",
            fix="Import mailctl.tasks in the app.",
        )
    return _GROUP.ok("tasks", f"all {len(TASK_NAMES)} are registered")


def _own_tasks(app: Celery) -> Iterator[Finding]:
    for name in sorted(overridden_tasks(app)):
        yield _GROUP.ok(name, f"{name} is the service's own and wins")


def _broker(app: Celery) -> Finding:
    return _GROUP.ok("broker", f"{masked_broker_url(app)}, as the app has it; the settings' does not count")


def _results(app: Celery) -> Finding:
    if has_results(app):
        return _GROUP.ok("results", mask_url(app.conf.result_backend))
    return _GROUP.warn(
        "results",
        "the app keeps no results; only the delivery log knows what became of an email",
        fix="Set result_backend of the app if programs ask AsyncResult(id).",
    )


def _serializer(app: Celery) -> Finding:
    if _JSON_CONTENT_TYPES.intersection(app.conf.accept_content):
        return _GROUP.ok("serializer", "JSON is accepted")
    return _GROUP.fail(
        "serializer",
        "the app refuses JSON, and emails travel as JSON",
        fix='Add "json" to accept_content of the app.',
    )
