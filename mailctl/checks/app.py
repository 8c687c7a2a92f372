"""Checks of the Celery app: import, tasks, broker, results, serializer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.celery_app import app_from_settings
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.own_tasks import check_own_tasks
from mailctl.domain.catalog import TASK_NAMES
from mailctl.settings.credential_masking import mask_url

if TYPE_CHECKING:
    from collections.abc import Generator

    from celery import Celery

    from mailctl.settings import Settings

_GROUP = CheckGroup(name="app")
_JSON_CONTENT_TYPES = frozenset({"json", "application/json"})


def check_app(settings: Settings) -> Generator[Finding, None, Celery]:
    """Check the Celery app and its tasks.

    Returns:
        The app.

    Raises:
        ConfigurationError: the app does not exist, or importing it fails.
    """
    app = app_from_settings(settings)
    app.loader.import_default_modules()
    if settings.mailctl_app:
        yield _GROUP.ok("import", f"{mask_url(settings.mailctl_app)}, the app of the service (MAILCTL_APP)")
    else:
        yield _GROUP.ok("import", "mailctl.celery_app:celery_app, created from the settings")
    yield _tasks(app)
    yield from check_own_tasks(settings, app)
    if settings.mailctl_app:
        yield _broker(app)
        yield _results(app)
        yield _serializer(app)
    return app


def has_results(app: Celery) -> bool:
    """Whether the app has a result backend."""
    return not str(app.conf.result_backend or "disabled").startswith("disabled")


def masked_broker_url(app: Celery) -> str:
    """Return the address of the broker, without its password."""
    url = app.conf.broker_url
    return mask_url(";".join(url) if isinstance(url, list | tuple) else url or "amqp://")


def _tasks(app: Celery) -> Finding:
    missing = sorted(TASK_NAMES.difference(app.tasks))
    if missing:
        return _GROUP.fail(
            "tasks",
            f"The app does not register {', '.join(missing)}.",
            fix="Import mailctl.tasks in the app.",
        )
    return _GROUP.ok("tasks", f"all {len(TASK_NAMES)} tasks are registered")


def _broker(app: Celery) -> Finding:
    return _GROUP.ok(
        "broker", f"{masked_broker_url(app)}, from the app; the broker of the settings is not used"
    )


def _results(app: Celery) -> Finding:
    if has_results(app):
        return _GROUP.ok("results", mask_url(app.conf.result_backend))
    return _GROUP.warn(
        "results",
        "The app has no result backend; only the delivery log has the status of emails.",
        fix="Set result_backend of the app if programs use AsyncResult(id).",
    )


def _serializer(app: Celery) -> Finding:
    if _JSON_CONTENT_TYPES.intersection(app.conf.accept_content):
        return _GROUP.ok("serializer", "JSON is accepted")
    return _GROUP.fail(
        "serializer",
        "The app does not accept JSON, but mailctl's messages are JSON.",
        fix='Add "json" to accept_content of the app.',
    )
