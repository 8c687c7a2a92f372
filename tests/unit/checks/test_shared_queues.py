"""Checks for other apps on the queues of emails."""

from __future__ import annotations

from mailctl.celery_app import create_celery_app
from mailctl.checks.shared_queues import check_shared_queues
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
