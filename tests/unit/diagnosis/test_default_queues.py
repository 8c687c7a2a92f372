"""The default queues: from the settings, or from the app of the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import Celery

from mailctl.diagnosis.default_queues import default_queues
from mailctl.settings import Settings


def parts(**values: Any) -> Any:
    """Return the parts of a process, whose app has a queue of its own."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = "shop"
    return SimpleNamespace(settings=Settings(celery_queue_default="emails", **values), app=app)


def test_the_settings_name_the_queue_of_mailctls_own_app() -> None:
    """The app is not even imported."""
    assert default_queues(parts()) == ("emails",)


def test_the_app_of_the_service_names_its_queues() -> None:
    """CELERY_QUEUE_DEFAULT is that of mailctl's own app."""
    assert default_queues(parts(mailctl_app="shop:app")) == ("shop",)
