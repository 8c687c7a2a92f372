"""Checks of the workers, by heartbeats in the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.celery_app import app_from_settings
from mailctl.checks.workers import DiscoveredWorkers, check_workers, needed_queues
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unit.checks.samples import OK, SKIP, WARN, run_to_end, worker, write_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mailctl.checks.finding import Finding
    from mailctl.delivery_log.heartbeats import Worker


def check(settings: Settings, *workers: Worker) -> tuple[dict[str, Finding], DiscoveredWorkers]:
    """Return the findings by their names, and the workers, for a log with these heartbeats."""
    parts = Runtime(Settings())
    for each in workers:
        parts.workers.record_heartbeat(each)
    try:
        app = app_from_settings(settings)
        return run_to_end(
            check_workers(app, parts.engine, None, catalog=BUILT_IN_CATALOG, is_log_missing=False)
        )
    finally:
        parts.close()


def test_without_a_worker_emails_wait() -> None:
    """The fix is the command that starts one."""
    found, _ = check(Settings())
    assert (found["alive"].status, found["alive"].fix) == (WARN, "Start one: mailctl worker")


def test_a_worker_is_named_with_its_queues() -> None:
    """Its queue is consumed."""
    found, discovered = check(Settings(), worker("celery"))
    assert found["alive"].detail == "1: celery@here on celery"
    assert found["queue celery"].status is OK
    assert discovered.queues_by_worker == {"celery@here": ("celery",)}


def test_a_queue_without_a_worker_is_a_warning() -> None:
    """A worker of another queue does not help."""
    found, _ = check(Settings(), worker("reports"))
    assert found["queue celery"].status is WARN
    assert found["queue celery"].fix == "Start one: mailctl worker"


def test_the_queues_follow_the_routes_of_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service may route its emails to queues of their own."""
    source = (
        "from celery import Celery\n"
        "app = Celery('shop', broker='memory://', set_as_current=False)\n"
        "app.conf.task_routes = {'send_welcome_email_task': {'queue': 'greetings'}}\n"
    )
    module = write_module("shop_with_routes", source, tmp_path, monkeypatch)
    settings = Settings(mailctl_app=f"{module}:app")
    found, _ = check(settings, worker("celery"))
    assert found["queue greetings"].status is WARN
    assert found["queue celery"].status is OK
    assert needed_queues(app_from_settings(settings))["greetings"] == ["welcome"]


def test_without_log_and_broker_nobody_can_be_asked() -> None:
    """That is not the same as no worker."""
    found, discovered = run_to_end(
        check_workers(None, None, None, catalog=BUILT_IN_CATALOG, is_log_missing=False)
    )
    assert (found["alive"].status, discovered) == (SKIP, DiscoveredWorkers())


def test_a_missing_log_has_no_workers() -> None:
    """It is known that none is alive."""
    found, _ = run_to_end(check_workers(None, None, None, catalog=BUILT_IN_CATALOG, is_log_missing=True))
    assert found["alive"].status is WARN


def test_workers_that_do_not_share_the_log_are_told_apart() -> None:
    """They answer on the broker, but have no heartbeat."""
    discovered = DiscoveredWorkers(
        heartbeats=(worker("celery"),),
        queues_by_node={"celery@here": ("celery",), "celery@there": ("reports",)},
    )
    assert discovered.unlogged_workers == {"celery@there": ("reports",)}
