"""Checks for other apps on the queues of emails."""

from __future__ import annotations

from celery import Celery

from mailctl.celery_app import create_celery_app
from mailctl.checks.shared_queues import _own_queue_step, check_shared_queues
from mailctl.checks.workers import DiscoveredWorkers
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.settings import Settings
from tests.unit.checks.samples import worker


def test_a_private_broker_is_not_shared() -> None:
    """There is no finding, whatever the workers consume."""
    workers = DiscoveredWorkers(heartbeats=(worker("celery", "reports"),))
    settings = Settings()
    app = create_celery_app(settings)
    assert list(check_shared_queues(app, None, workers, catalog=BUILT_IN_CATALOG, settings=settings)) == []


def test_the_fix_for_a_shared_queue_fits_the_app() -> None:
    """The queues of an app of the service are in its code; mailctl's setting does not change them."""
    assert "CELERY_QUEUE_DEFAULT" in _own_queue_step(create_celery_app(Settings()))
    assert "task_routes" in _own_queue_step(Celery("shop", set_as_current=False))
